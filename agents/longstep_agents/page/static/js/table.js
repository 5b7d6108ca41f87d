// The table of episodes: filtered and sorted over columns; only the rows in sight are elements.

import { outcomeMark } from "./colour.js";
import { h, link } from "./dom.js";
import { filterBar, matching, sorted, CHOICES } from "./filters.js";
import { count, duration, number, shorten, words } from "./format.js";
import { episodeLink, remember } from "./route.js";

const ROW_HEIGHT = 36;
const SPARE = 8;

const COLUMNS = [
  { name: "#", of: "n", class: "n", cell: (e, i, run) => link(episodeLink(run, i), String(i)) },
  {
    name: "solved",
    of: "success",
    class: "c",
    cell: (e, i) => outcomeMark(e.success[i], e.success[i] ? "yes" : "no"),
  },
  {
    name: "set",
    of: "phase",
    cell: (e, i) => (e.part?.[i] ? shorten(e.part[i], 24) : words(e.phase[i])),
  },
  {
    name: "iter.",
    of: "iteration",
    class: "n",
    cell: (e, i) => (e.iteration[i] ? count(e.iteration[i]) : "–"),
  },
  { name: "task", of: "task_id", class: "task", cell: (e, i) => shorten(e.task_id[i], 58) },
  {
    name: "type",
    of: "task_type",
    class: "kind",
    cell: (e, i) => shorten(words(e.task_type[i]), 26),
  },
  { name: "score", of: "score", class: "n", cell: (e, i) => number(e.score[i], 2) },
  { name: "reward", of: "reward", class: "n", cell: (e, i) => number(e.reward[i], 2) },
  { name: "turns", of: "turns", class: "n", cell: (e, i) => count(e.turns[i]) },
  {
    name: "stopped by",
    of: "stop_reason",
    cell: (e, i) => [
      words(e.stop_reason[i]),
      e.superseded?.[i] ? h("span", { class: "tag" }, "played again") : null,
      e.flagged?.[i] ? h("span", { class: "tag warn" }, `${e.flagged[i]} flagged`) : null,
    ],
  },
  {
    name: "outcome",
    of: "outcome",
    cell: (e, i) =>
      h(
        "span",
        { class: e.outcome[i] === "ok" || e.outcome[i] === "truncated" ? "faint" : "fault" },
        words(e.outcome[i]),
      ),
  },
  { name: "time", of: "seconds", class: "n", cell: (e, i) => duration(e.seconds?.[i]) },
];

export function episodeTable(run, query) {
  const episodes = run.episodes || { count: 0 };
  if (!episodes.count) return h("p", { class: "faint" }, "No episode is kept.");
  const state = Object.fromEntries(
    [...CHOICES.map(([name]) => name), "text", "from", "to", "by", "order"].map((name) => [
      name,
      query.get(name) || "",
    ]),
  );
  const told = h("span", { class: "faint", role: "status" });
  const table = rowsView(run, episodes, state);
  const update = (changes) => {
    Object.assign(state, changes);
    remember(changes);
    told.textContent = `${count(table.show())} of ${count(episodes.count)}`;
  };
  const box = h(
    "div",
    { class: "episodes" },
    filterBar(episodes, state, update, told),
    table.box(update),
  );
  update({});
  return box;
}

function rowsView(run, episodes, state) {
  const shown = COLUMNS.filter((column) => column.of === "n" || occurs(episodes, column.of));
  const body = h("tbody");
  const scroller = h("div", {
    class: "table-scroll",
    tabindex: "0",
    role: "region",
    "aria-label": "Episodes",
    "data-scroll": "episodes",
  });
  let found = [];
  const paint = () => {
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW_HEIGHT) - SPARE);
    const last = Math.min(
      found.length,
      first + Math.ceil((scroller.clientHeight || 600) / ROW_HEIGHT) + 2 * SPARE,
    );
    body.replaceChildren(
      gap(first * ROW_HEIGHT, shown.length),
      ...found.slice(first, last).map((i, k) => row(run, episodes, shown, i, first + k)),
      gap((found.length - last) * ROW_HEIGHT, shown.length),
    );
  };
  const show = () => {
    found = sorted(matching(episodes, state), episodes, state);
    paint();
    return found.length;
  };
  const box = (update) => {
    const head = h("tr");
    const mark = () =>
      head.replaceChildren(
        ...shown.map((column) =>
          columnHead(column, state, (changes) => {
            update(changes);
            mark();
          }),
        ),
      );
    mark();
    scroller.append(
      h(
        "table",
        { class: "grid", "aria-rowcount": episodes.count + 1 },
        h("thead", {}, head),
        body,
      ),
    );
    scroller.addEventListener("scroll", () => requestAnimationFrame(paint), { passive: true });
    new ResizeObserver(paint).observe(scroller);
    return scroller;
  };
  return { show, box };
}

const occurs = (episodes, name) =>
  (episodes[name] || []).some(
    (value) => value !== "" && value !== null && !(name === "iteration" && value === 0),
  );

function columnHead(column, state, update) {
  const own = (state.by || "n") === column.of;
  const down = own && state.order === "down";
  return h(
    "th",
    { class: column.class, "aria-sort": own ? (down ? "descending" : "ascending") : "none" },
    h(
      "button",
      {
        type: "button",
        class: "sort",
        "data-key": `by:${column.of}`,
        onclick: () =>
          update({ by: column.of === "n" ? "" : column.of, order: own && !down ? "down" : "" }),
      },
      column.name,
      h("span", { class: "arrow", "aria-hidden": "true" }, own ? (down ? "↓" : "↑") : ""),
    ),
  );
}

function row(run, episodes, shown, i, place) {
  const open = (event) => {
    if (!event.target.closest("a") && !String(getSelection())) location.hash = episodeLink(run, i);
  };
  return h(
    "tr",
    { "data-episode": i, "aria-rowindex": place + 2, onclick: open },
    shown.map((column) =>
      h(
        "td",
        { class: column.class, title: column.of === "task_id" ? episodes.task_id[i] : null },
        column.cell(episodes, i, run),
      ),
    ),
  );
}

function gap(height, span) {
  const cell = h("td", { colspan: span });
  cell.style.height = `${height}px`;
  return h("tr", { class: "gap", "aria-hidden": "true" }, cell);
}
