// Draws the charts and the gallery of episodes from window.VLA_REPORT (see ../data.py). No libraries but plotly.js.
"use strict";
(() => {
  let report = window.VLA_REPORT;
  const PAGE_SIZE = 24;
  const OUTCOMES = ["failure", "success", "error", "not_run", "not_planned"];
  const WORDS = { failure: "failed", success: "solved", error: "error", not_run: "not run" };
  const [FAILURE, SUCCESS, ERROR, NOT_RUN, NOT_PLANNED] = [0, 1, 2, 3, 4];
  const WATCHED = document.getElementById("watch") !== null;
  const MOBILE = window.matchMedia("(max-width: 600px)");

  // --- charts ---

  function draw(element) {
    const figure = report.figures[element.dataset.figure];
    if (!figure) return null; // it was of an earlier version of the page
    element.hidden = !figure.data.some((trace) => trace.x.length > 0);
    if (element.hidden) return null;
    element.dataset.drawn = "yes";
    const layout = { ...figure.layout, font: { ...figure.layout.font, size: MOBILE.matches ? 11 : 13 } };
    return Plotly.react(element, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }

  // Those that have been drawn are drawn anew; those in something folded wait until it is opened.
  function drawAll() {
    return Promise.all([...document.querySelectorAll(".chart")].map((element) => {
      const folded = element.closest("details:not([open])");
      if (!folded || element.dataset.drawn) return draw(element);
      folded.addEventListener("toggle", () => element.dataset.drawn || draw(element), { once: true });
      return null;
    }));
  }

  // --- episodes ---

  let columns, known, everything;

  function compared(number, first, other) {
    // Whether some run solved what the first one did not, or the other way round.
    return columns.slice(1).some((column, i) => known[0][number] && known[i + 1][number] && columns[0].outcome[number] === first && column.outcome[number] === other);
  }

  const MATCHES = {
    "": (number) => columns.some((column) => column.outcome[number] !== NOT_PLANNED),
    lost: (number) => compared(number, SUCCESS, FAILURE),
    gained: (number) => compared(number, FAILURE, SUCCESS),
  };
  OUTCOMES.forEach((name, code) => { MATCHES[name] = (number) => columns.some((column) => column.outcome[number] === code); });

  // Failures first, and among several runs what was lost before that; then errors, what was not run, successes. What a run that is
  // being watched has not come to yet is last.
  function urgency(number) {
    if (columns.length > 1 && MATCHES.lost(number)) return 0;
    const codes = columns.map((column) => column.outcome[number]);
    if (codes.includes(FAILURE)) return 1;
    if (codes.includes(ERROR)) return 2;
    return codes.includes(NOT_RUN) ? (WATCHED ? 5 : 3) : 4;
  }

  function take(data) {
    report = data;
    columns = report.columns;
    known = columns.map((column) => column.outcome.map((code) => code === FAILURE || code === SUCCESS));
    everything = report.suite.map((_, number) => number);
    const urgencies = everything.map(urgency);
    everything.sort((a, b) => urgencies[a] - urgencies[b] || a - b);
    fill(form.elements.suite, report.suites);
    fill(form.elements.task, report.tasks);
    if (form.elements.category) {
      fill(form.elements.category, report.categories);
      const levels = [...new Set(report.level.filter((level) => level !== null))].sort((a, b) => a - b);
      for (const level of levels.slice(form.elements.level.options.length - 1)) form.elements.level.append(new Option(String(level), String(level)));
    }
  }

  const form = document.getElementById("filter");
  const gallery = document.getElementById("gallery");
  let shown = [];
  let page = 0;

  // Names are only ever added behind those that are there already.
  function fill(select, names) {
    for (let number = select.options.length - 1; number < names.length; number++) select.append(new Option(names[number], String(number)));
  }

  if (form.elements.reason) fill(form.elements.reason, report.reasons);

  function matching() {
    const { outcome, suite, task, category, level, reason, text } = form.elements;
    const any = (select) => !select || select.value === "";
    const words = text.value.toLowerCase();
    const hit = (list) => new Set(list.flatMap((name, number) => (name.toLowerCase().includes(words) ? [number] : [])));
    const [tasks, instructions] = [hit(report.tasks), hit(report.instructions)];
    return everything.filter((number) =>
      MATCHES[outcome.value](number) &&
      (suite.value === "" || report.suite[number] === Number(suite.value)) &&
      (task.value === "" || report.task[number] === Number(task.value)) &&
      (any(category) || report.category[number] === Number(category.value)) &&
      (any(reason) || columns.some((column) => column.reason[number] === Number(reason.value))) &&
      (any(level) || report.level[number] === Number(level.value)) &&
      (words === "" || tasks.has(report.task[number]) || instructions.has(report.instruction[number])));
  }

  function filter() {
    shown = matching();
    page = 0;
    show();
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function side(run, number, caption) {
    const column = columns[run];
    const name = OUTCOMES[column.outcome[number]];
    const figure = element("figure");
    const [video, missing, error] = [column.video[number], column.missing[number], column.error[number]];
    if (video) {
      const player = element("video");
      Object.assign(player, { controls: true, loop: true, muted: true, playsInline: true, preload: "metadata" });
      player.src = `videos/${run}/${encodeURIComponent(video)}#t=0.01`; // so that the first frame is shown, not black
      player.setAttribute("aria-label", caption);
      player.addEventListener("error", () => player.replaceWith(element("div", "gap", `This video cannot be played: ${video}`)), { once: true });
      figure.append(player);
    } else if (error) {
      figure.append(element("div", "gap", error));
    } else if (known[run][number]) {
      figure.append(element("div", "gap", missing ? `The video is missing: ${missing}` : "No video."));
    }
    const line = element("figcaption");
    if (columns.length > 1) line.append(`${report.runs[run]}: `);
    line.append(element("span", `outcome ${name}`, WORDS[name]));
    if (known[run][number]) line.append(` in ${column.steps[number]} steps`);
    if (column.links && known[run][number]) line.append(`, ${column.links[number]} subtasks in a row`);
    figure.append(line);
    const reason = report.reasons[column.reason[number]];
    if (reason) figure.append(element("p", "reason", reason));
    for (const [subtask, success] of column.subtasks[number] || []) {
      figure.append(element("p", "", `${success ? "\u2713" : "\u2717"} ${subtask}`));
    }
    return figure;
  }

  function card(number) {
    const item = element("li");
    const title = `${report.tasks[report.task[number]]}, trial ${report.trial[number]}${report.variant[number] ? `: ${report.variant[number]}` : ""}`;
    item.append(element("h3", "", title));
    const seed = report.seed[number] ? `, seed ${report.seed[number]}` : "";
    item.append(element("p", "", `${report.suites[report.suite[number]]}${seed}: ${report.instructions[report.instruction[number]]}`));
    const sides = element("div", "sides");
    for (let run = 0; run < columns.length; run++) {
      if (columns[run].outcome[number] !== NOT_PLANNED) sides.append(side(run, number, title));
    }
    item.append(sides);
    return item;
  }

  // What a card shows, as text: a card whose text is the same stays as it is, and its video plays on.
  function signature(number) {
    return JSON.stringify(columns.map((column) => [column.outcome, column.steps, column.video, column.missing, column.error, column.links || [], column.subtasks].map((values) => values[number])));
  }

  const cards = new Map(); // what is in the gallery: number of the episode -> its card and that card's signature

  function remove(number) {
    const { node } = cards.get(number);
    for (const player of node.querySelectorAll("video")) player.removeAttribute("src"); // ends its downloads
    node.remove();
    cards.delete(number);
  }

  function show() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
    page = Math.min(Math.max(page, 0), pages - 1);
    gallery.className = columns.length > 1 ? "pairs" : "";
    const wanted = shown.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    const signatures = new Map(wanted.map((number) => [number, signature(number)]));
    for (const [number, { signature: before }] of [...cards]) if (signatures.get(number) !== before) remove(number);
    let next = gallery.firstElementChild;
    for (const number of wanted) {
      const kept = cards.get(number);
      if (kept && kept.node === next) {
        next = next.nextElementSibling;
        continue;
      }
      const node = kept ? kept.node : card(number);
      cards.set(number, { node, signature: signatures.get(number) });
      gallery.insertBefore(node, next);
    }
    document.getElementById("count").textContent = `${shown.length} of ${everything.length} episodes`;
    for (const place of document.querySelectorAll(".page")) place.textContent = `page ${page + 1} of ${pages}`;
    for (const button of document.querySelectorAll("[data-page]")) {
      button.disabled = button.dataset.page === "1" ? page >= pages - 1 : page === 0;
    }
  }

  for (const button of document.querySelectorAll("[data-page]")) {
    button.addEventListener("click", () => {
      page += Number(button.dataset.page);
      show();
      document.getElementById("count").scrollIntoView();
    });
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  take(report);
  drawAll();
  filter();

  // What watch.js needs to bring the page up to date. With `still`, no card moves, though each shows what is new of it; returned is
  // whether other cards would be there, or in another order, had they moved.
  window.VLA_PAGE = {
    drawAll,
    gallery,
    take,
    show(still) {
      const found = matching();
      if (still && shown.length) {
        show();
        return found.length !== shown.length || found.some((number, place) => shown[place] !== number);
      }
      shown = found;
      show();
      return false;
    },
  };
})();
