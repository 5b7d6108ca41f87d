// The table of episodes: filtered and sorted over columns; only the rows in sight are elements.

import { h, link } from "./dom.js";
import { count, duration, isNumber, number, shorten, words } from "./format.js";
import { episodeLink, remember } from "./route.js";

const ROW_HEIGHT = 36;
const SPARE = 8;

const COLUMNS = [
  { name: "#", of: "n", class: "n", cell: (e, i, run) => link(episodeLink(run, i), String(i)) },
  { name: "set", of: "phase", cell: (e, i) => (e.part?.[i] ? shorten(e.part[i], 24) : words(e.phase[i])) },
  { name: "iter.", of: "iteration", class: "n", cell: (e, i) => (e.iteration[i] ? count(e.iteration[i]) : "–") },
  { name: "task", of: "task_id", class: "task", cell: (e, i) => shorten(e.task_id[i], 58) },
  { name: "type", of: "task_type", class: "kind", cell: (e, i) => shorten(words(e.task_type[i]), 26) },
  { name: "solved", of: "success", class: "c", cell: (e, i) => h("span", { class: e.success[i] ? "solved-mark" : "missed-mark" }, e.success[i] ? "● yes" : "○ no") },
  { name: "score", of: "score", class: "n", cell: (e, i) => number(e.score[i], 2) },
  { name: "reward", of: "reward", class: "n", cell: (e, i) => number(e.reward[i], 2) },
  { name: "turns", of: "turns", class: "n", cell: (e, i) => count(e.turns[i]) },
  { name: "stopped by", of: "stop_reason", cell: (e, i) => [words(e.stop_reason[i]), e.superseded?.[i] ? h("span", { class: "tag" }, "played again") : null, e.flagged?.[i] ? h("span", { class: "tag warn" }, `${e.flagged[i]} flagged`) : null] },
  { name: "outcome", of: "outcome", cell: (e, i) => h("span", { class: e.outcome[i] === "ok" || e.outcome[i] === "truncated" ? "faint" : "fault" }, words(e.outcome[i])) },
  { name: "time", of: "seconds", class: "n", cell: (e, i) => duration(e.seconds?.[i]) },
];

// What can be asked for by a choice: the column's values, as they occur.
const CHOICES = [["phase", "phase"], ["part", "part"], ["task_type", "type"], ["success", "solved"], ["stop_reason", "stopped by"], ["outcome", "outcome"]];

export function episodeTable(run, query) {
  const episodes = run.episodes || { count: 0 };
  if (!episodes.count) return h("p", { class: "faint" }, "No episode is kept.");
  const state = Object.fromEntries([...CHOICES.map(([name]) => name), "text", "from", "to", "by", "order"].map((name) => [name, query.get(name) || ""]));
  const told = h("span", { class: "faint", role: "status" });
  const table = rowsView(run, episodes, state);
  const update = (changes) => {
    Object.assign(state, changes);
    remember(changes);
    told.textContent = `${count(table.show())} of ${count(episodes.count)}`;
  };
  const box = h("div", { class: "episodes" }, filterBar(episodes, state, update, told), table.box(update));
  update({});
  return box;
}

function filterBar(episodes, state, update, told) {
  const field = (name, attributes) => h("input", { ...attributes, value: state[name], "data-filter": name, "data-key": `filter:${name}`, oninput: (event) => update({ [name]: event.target.value }) });
  const iterations = episodes.iteration?.some(Boolean);
  return h(
    "form",
    { class: "filters", role: "search", "aria-label": "Filter the episodes", onsubmit: (event) => event.preventDefault() },
    field("text", { id: "search", type: "search", placeholder: "Find a task …", "aria-label": "task or number contains", autocomplete: "off" }),
    CHOICES.map(([name, title]) => chooser(episodes, name, title, state, update)),
    iterations && h("span", { class: "range" }, "iteration", field("from", { type: "number", min: 0, "aria-label": "first iteration" }), "–", field("to", { type: "number", min: 0, "aria-label": "last iteration" })),
    told,
  );
}

function chooser(episodes, name, title, state, update) {
  const values = [...new Set(episodes[name] || [])].filter((value) => value !== "").map(String).sort();
  if (values.length < 2) return null;
  const say = (value) => (name === "success" ? (value === "1" ? "yes" : "no") : shorten(words(value), 32));
  return h(
    "label",
    { class: state[name] ? "chosen" : null },
    h("span", { class: "unseen" }, title),
    h("select", { "data-filter": name, "data-key": `filter:${name}`, onchange: (event) => { event.target.parentElement.classList.toggle("chosen", event.target.value !== ""); update({ [name]: event.target.value }); } },
      h("option", { value: "" }, `${title}: any`),
      values.map((value) => h("option", { value, selected: state[name] === value }, name === "success" ? `solved: ${say(value)}` : say(value)))),
  );
}

export function matching(episodes, state) {
  const text = state.text.trim().toLowerCase();
  const [from, to] = [state.from === "" ? -Infinity : Number(state.from), state.to === "" ? Infinity : Number(state.to)];
  const asked = CHOICES.map(([name]) => name).filter((name) => state[name] !== "");
  const found = [];
  for (let i = 0; i < episodes.count; i += 1) {
    if (asked.some((name) => String(episodes[name]?.[i]) !== state[name])) continue;
    if (episodes.iteration[i] < from || episodes.iteration[i] > to) continue;
    if (text && !`${i} ${episodes.task_id[i]} ${episodes.task_type[i]} ${episodes.part[i]}`.toLowerCase().includes(text)) continue;
    found.push(i);
  }
  return found;
}

function sorted(found, episodes, state) {
  if (!state.by) return found;
  const sign = state.order === "down" ? -1 : 1;
  const column = state.by === "n" ? null : episodes[state.by];
  const value = (i) => (column ? column[i] ?? -Infinity : i);
  const before = (a, b) => (isNumber(a) && isNumber(b) ? a - b : String(a).localeCompare(String(b)));
  return found.sort((a, b) => sign * before(value(a), value(b)) || a - b);
}

function rowsView(run, episodes, state) {
  const shown = COLUMNS.filter((column) => column.of === "n" || occurs(episodes, column.of));
  const body = h("tbody");
  const scroller = h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Episodes", "data-scroll": "episodes" });
  let found = [];
  const paint = () => {
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW_HEIGHT) - SPARE);
    const last = Math.min(found.length, first + Math.ceil((scroller.clientHeight || 600) / ROW_HEIGHT) + 2 * SPARE);
    body.replaceChildren(
      gap(first * ROW_HEIGHT, shown.length),
      ...found.slice(first, last).map((i, k) => row(run, episodes, shown, i, first + k)),
      gap((found.length - last) * ROW_HEIGHT, shown.length));
  };
  const show = () => {
    found = sorted(matching(episodes, state), episodes, state);
    paint();
    return found.length;
  };
  const box = (update) => {
    const head = h("tr");
    const mark = () => head.replaceChildren(...shown.map((column) => columnHead(column, state, (changes) => { update(changes); mark(); })));
    mark();
    scroller.append(h("table", { class: "grid", "aria-rowcount": episodes.count + 1 }, h("thead", {}, head), body));
    scroller.addEventListener("scroll", () => requestAnimationFrame(paint), { passive: true });
    new ResizeObserver(paint).observe(scroller);
    return scroller;
  };
  return { show, box };
}

const occurs = (episodes, name) => (episodes[name] || []).some((value) => value !== "" && value !== null && !(name === "iteration" && value === 0));

function columnHead(column, state, update) {
  const own = (state.by || "n") === column.of;
  const down = own && state.order === "down";
  return h("th", { class: column.class, "aria-sort": own ? (down ? "descending" : "ascending") : "none" },
    h("button", { type: "button", class: "sort", "data-key": `by:${column.of}`, onclick: () => update({ by: column.of === "n" ? "" : column.of, order: own && !down ? "down" : "" }) },
      column.name, h("span", { class: "arrow", "aria-hidden": "true" }, own ? (down ? "↓" : "↑") : "")));
}

function row(run, episodes, shown, i, place) {
  const open = (event) => { if (!event.target.closest("a") && !String(getSelection())) location.hash = episodeLink(run, i); };
  return h("tr", { "data-episode": i, "aria-rowindex": place + 2, onclick: open },
    shown.map((column) => h("td", { class: column.class, title: column.of === "task_id" ? episodes.task_id[i] : null }, column.cell(episodes, i, run))));
}

function gap(height, span) {
  const cell = h("td", { colspan: span });
  cell.style.height = `${height}px`;
  return h("tr", { class: "gap", "aria-hidden": "true" }, cell);
}
