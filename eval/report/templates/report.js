// Draws the charts and the gallery of episodes from window.VLA_REPORT (see ../build.py). No libraries but plotly.js.
"use strict";
(() => {
  const report = window.VLA_REPORT;
  const PAGE_SIZE = 24;
  const OUTCOMES = ["failure", "success", "error", "not_run", "not_planned"];
  const WORDS = { failure: "failed", success: "solved", error: "error", not_run: "not run" };
  const [FAILURE, SUCCESS, ERROR, NOT_RUN, NOT_PLANNED] = [0, 1, 2, 3, 4];
  const MOBILE = window.matchMedia("(max-width: 600px)");

  // --- charts ---

  function draw(element) {
    if (element.dataset.drawn) return;
    element.dataset.drawn = "yes";
    const figure = report.figures[element.dataset.figure];
    const layout = { ...figure.layout, font: { ...figure.layout.font, size: MOBILE.matches ? 11 : 13 } };
    Plotly.newPlot(element, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }

  for (const element of document.querySelectorAll(".chart")) {
    const folded = element.closest("details:not([open])");
    if (folded) folded.addEventListener("toggle", () => draw(element), { once: true });
    else draw(element);
  }

  // --- episodes ---

  const columns = report.columns;
  const known = columns.map((column) => column.outcome.map((code) => code === FAILURE || code === SUCCESS));

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

  // Failures first, and among several runs what was lost before that; then errors, what was not run, successes.
  function urgency(number) {
    if (columns.length > 1 && MATCHES.lost(number)) return 0;
    const codes = columns.map((column) => column.outcome[number]);
    if (codes.includes(FAILURE)) return 1;
    if (codes.includes(ERROR)) return 2;
    return codes.includes(NOT_RUN) ? 3 : 4;
  }

  const everything = report.suite.map((_, number) => number);
  const urgencies = everything.map(urgency);
  everything.sort((a, b) => urgencies[a] - urgencies[b] || a - b);

  const form = document.getElementById("filter");
  const gallery = document.getElementById("gallery");
  let shown = everything;
  let page = 0;

  function fill(select, names) {
    for (const [number, name] of names.entries()) select.append(new Option(name, String(number)));
  }
  fill(form.elements.suite, report.suites);
  fill(form.elements.task, report.tasks);
  if (form.elements.category) {
    fill(form.elements.category, report.categories);
    const levels = [...new Set(report.level.filter((level) => level !== null))].sort((a, b) => a - b);
    for (const level of levels) form.elements.level.append(new Option(String(level), String(level)));
  }

  function filter() {
    const { outcome, suite, task, category, level, text } = form.elements;
    const any = (select) => !select || select.value === "";
    const words = text.value.toLowerCase();
    const hit = (list) => new Set(list.flatMap((name, number) => (name.toLowerCase().includes(words) ? [number] : [])));
    const [tasks, instructions] = [hit(report.tasks), hit(report.instructions)];
    shown = everything.filter((number) =>
      MATCHES[outcome.value](number) &&
      (suite.value === "" || report.suite[number] === Number(suite.value)) &&
      (task.value === "" || report.task[number] === Number(task.value)) &&
      (any(category) || report.category[number] === Number(category.value)) &&
      (any(level) || report.level[number] === Number(level.value)) &&
      (words === "" || tasks.has(report.task[number]) || instructions.has(report.instruction[number])));
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
    } else {
      figure.append(element("div", "gap", missing ? `The video is missing: ${missing}` : "No video."));
    }
    const line = element("figcaption");
    if (columns.length > 1) line.append(`${report.runs[run]}: `);
    line.append(element("span", `outcome ${name}`, WORDS[name]));
    if (known[run][number]) line.append(` in ${column.steps[number]} steps`);
    if (column.links && known[run][number]) line.append(`, ${column.links[number]} subtasks in a row`);
    figure.append(line);
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

  function show() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
    page = Math.min(Math.max(page, 0), pages - 1);
    for (const player of gallery.querySelectorAll("video")) player.removeAttribute("src");
    gallery.className = columns.length > 1 ? "pairs" : "";
    gallery.replaceChildren(...shown.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map(card));
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
  show();
})();
