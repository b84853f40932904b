// Brings the page of a run under way up to date as episodes land (see ../watching.py), and leaves the reader where he is.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const PATIENCE = 5; // questions without an answer until the server is taken to have ended
  const { drawAll, gallery, show, take } = window.VLA_PAGE;
  const line = document.getElementById("watch");
  const landed = document.getElementById("landed");
  const renewed = new Map(); // section -> its HTML as it came
  let version = Number(line.dataset.version);
  let unanswered = 0;
  let at = "";

  document.documentElement.style.overflowAnchor = "none"; // the place is kept here, once

  function say(className, text) {
    if (line.textContent === text) return;
    line.className = className;
    line.textContent = text;
  }

  class Unanswered extends Error {}

  async function answer(name) {
    const response = await fetch(name, { cache: "no-store" }).catch((error) => { throw new Unanswered(error.message); });
    if (!response.ok) throw new Unanswered(`${name}: ${response.status}`);
    return response.text();
  }

  // The first thing that can be seen: a card of the gallery, else a section, which is found again by its name once it is renewed.
  function place() {
    const visible = (element) => element.getBoundingClientRect().bottom > 0;
    const section = [...document.querySelectorAll("main > section")].find(visible);
    const card = section && section.id === "episodes" ? [...gallery.children].find(visible) : null;
    const found = card ? () => card : () => section && document.getElementById(section.id);
    const top = found() ? found().getBoundingClientRect().top : 0;
    return () => {
      const now = found();
      if (window.scrollY > 0 && now && now.isConnected) window.scrollBy(0, now.getBoundingClientRect().top - top);
    };
  }

  // A section as it came, with the charts that are drawn already, what was open, how far tables were scrolled, and the focus.
  function renew(old, fresh) {
    for (const chart of fresh.querySelectorAll(".chart")) {
      const drawn = old.querySelector(`.chart[data-figure="${CSS.escape(chart.dataset.figure)}"]`);
      if (drawn) chart.replaceWith(drawn);
    }
    const folds = [...old.querySelectorAll("details")];
    for (const fold of fresh.querySelectorAll("details")) {
      const same = folds.find((other) => other.firstElementChild.textContent === fold.firstElementChild.textContent);
      if (same) fold.open = same.open;
    }
    const tables = [...old.querySelectorAll(".wide")].map((table) => table.scrollLeft);
    const focusable = "a, summary, [tabindex]";
    const focus = [...old.querySelectorAll(focusable)].indexOf(document.activeElement);
    old.replaceWith(fresh);
    [...fresh.querySelectorAll(".wide")].forEach((table, number) => { table.scrollLeft = tables[number] || 0; });
    if (focus >= 0) [...fresh.querySelectorAll(focusable)][focus]?.focus({ preventScroll: true });
  }

  async function update() {
    const [html, script] = await Promise.all([answer("index.html"), answer("data.js")]);
    const page = new DOMParser().parseFromString(html, "text/html");
    const choices = (of) => of.querySelectorAll("#filter select, #filter select[name=outcome] option").length;
    if (choices(page) !== choices(document)) { // a sweep has begun its second run: there is more to choose from
      window.location.reload();
      return;
    }
    const back = place();
    let last = null;
    for (const fresh of [page.querySelector("header nav"), ...page.querySelectorAll("main > section")]) {
      const name = fresh.id || "nav";
      const old = fresh.id ? document.getElementById(fresh.id) : document.querySelector("header nav");
      const came = fresh.outerHTML;
      if (name !== "episodes" && renewed.get(name) !== came) {
        renewed.set(name, came);
        const adopted = document.adoptNode(fresh);
        if (old) renew(old, adopted);
        else if (last) last.after(adopted);
        else document.querySelector("main").prepend(adopted);
      }
      if (fresh.id) last = document.getElementById(fresh.id);
    }
    take(JSON.parse(script.slice(script.indexOf("{"), script.lastIndexOf("}") + 1)));
    await drawAll();
    const reading = window.scrollY > 0 && gallery.getBoundingClientRect().top < window.innerHeight / 2;
    const playing = [...gallery.querySelectorAll("video")].some((player) => !player.paused);
    offer(show(reading || playing || gallery.contains(document.activeElement)));
    back();
  }

  function offer(another) {
    landed.hidden = !another;
    landed.textContent = "More episodes have landed: sort the list again";
  }
  landed.addEventListener("click", () => offer(show(false)));
  document.getElementById("filter").addEventListener("input", () => offer(false));

  async function look() {
    try {
      const state = JSON.parse(await answer("version.json"));
      if (state.version !== version) {
        await update();
        version = state.version;
      }
      unanswered = 0;
      at = state.at;
      say(state.over ? "over" : "going", `${state.said}, as of ${at}.`);
      if (state.over) return;
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      unanswered += 1;
      if (unanswered >= PATIENCE) {
        say("gone", `The watch has ended; this is how things stood${at ? ` at ${at}` : " when the page was opened"}.`);
        return;
      }
    }
    setTimeout(look, EVERY_MS);
  }
  look();
})();
