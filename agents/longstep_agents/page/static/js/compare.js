// Two runs, paired by task: which tasks one solves and the other does not, and how sure that is.

import { outcomeMark } from "./colour.js";
import { h, link, s, tableOf } from "./dom.js";
import { chance, count, nameOf, percent, plural, shorten, signed } from "./format.js";
import { intervalBar } from "./bars.js";
import { pairOf, pairTasks } from "./pairing.js";
import { headline, lastStages } from "./results.js";
import { address, remember, runLink } from "./route.js";
import { scale } from "./scale.js";

const CELLS = [
  ["won", "only the second"],
  ["both", "both"],
  ["neither", "neither"],
  ["lost", "only the first"],
];
const LISTED = 300;

export function compareView({ index, first, second, query, redraw }) {
  const change = (changes) => {
    remember(changes);
    redraw();
  };
  const paired = pairTasks(first, second);
  return h(
    "div",
    { class: "page wide" },
    h(
      "header",
      { class: "lead" },
      h("p", { class: "eyebrow" }, "Compare, task by task"),
      h(
        "h1",
        {},
        link(runLink(first), nameOf(first)),
        h("span", { class: "against" }, " against "),
        link(runLink(second), nameOf(second)),
      ),
    ),
    h(
      "div",
      { class: "toolbar" },
      picker("First", index, first, (id) => address(["compare", id, second.id])),
      picker("Second", index, second, (id) => address(["compare", first.id, id])),
      link(address(["compare", second.id, first.id]), "Swap"),
    ),
    paired.size
      ? [
          partTable({ index, first, second, paired, query, change }),
          taskList({ first, second, paired, query, change }),
        ]
      : h("p", { class: "waiting" }, "These two have no task in common."),
  );
}

function picker(label, index, current, to) {
  return h(
    "label",
    { class: "picker" },
    `${label} `,
    h(
      "select",
      {
        "data-key": `picker:${label}`,
        onchange: (event) => {
          location.hash = to(event.target.value);
        },
      },
      index.runs.map((run) =>
        h("option", { value: run.id, selected: run === current }, shorten(nameOf(run), 40)),
      ),
    ),
  );
}

function partTable(context) {
  const { index, first, second, paired } = context;
  const found = [...paired.keys()].map((part) => [part, pairOf(index, first, second, part)]);
  const reach = Math.max(
    0.1,
    ...found.map(([, pair]) => (pair ? Math.max(-pair.low, pair.high) : 0)),
  );
  const heads = [
    "set",
    shorten(nameOf(first), 24),
    shorten(nameOf(second), 24),
    "difference, in points",
    ["p", "n"],
    "tasks",
  ];
  const rows = found.map(([part, pair]) => partRow(part, pair, reach, context));
  return h(
    "div",
    {
      class: "scroller",
      tabindex: "0",
      role: "region",
      "aria-label": "Parts",
      "data-scroll": "parts",
    },
    tableOf({ class: "board parts" }, heads, rows),
  );
}

function partRow(part, pair, reach, { first, second, paired, query, change }) {
  const tasks = paired.get(part);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, part, h("span", { class: "under" }, plural(tasks.length, "task"))),
    rateCell(first, part),
    rateCell(second, part),
    differenceCell(pair, reach),
    h("td", { class: "n", title: pair?.test }, chance(pair?.p).replace("p = ", "")),
    h("td", {}, shares(part, tasks, query, change)),
  );
}

function rateCell(run, name) {
  const part = lastStages(run).get(name);
  const found = part && headline(part);
  return h(
    "td",
    { class: "e" },
    found
      ? [h("span", { class: "value" }, percent(found.mean)), intervalBar(found, { width: 96 })]
      : "–",
  );
}

function differenceCell(pair, reach) {
  if (!pair) return h("td", { class: "faint" }, "–");
  const x = scale([-reach, reach], [6, 174]);
  const side = pair.low > 0 ? "better" : pair.high < 0 ? "worse" : "open";
  const points = (v) => signed(100 * v, 1);
  return h(
    "td",
    { class: "e", title: `95 %: ${points(pair.low)} to ${points(pair.high)}` },
    h(
      "span",
      { class: "value" },
      points(pair.difference),
      h("span", { class: "faint" }, `  ${points(pair.low)} to ${points(pair.high)}`),
    ),
    s(
      "svg",
      { width: 180, height: 16, class: `interval difference ${side}`, "aria-hidden": "true" },
      s("line", { x1: 6, x2: 174, y1: 8.5, y2: 8.5, class: "track" }),
      s("line", { x1: x(0), x2: x(0), y1: 1, y2: 16, class: "ghost" }),
      s("line", { x1: x(pair.low), x2: x(pair.high), y1: 8.5, y2: 8.5, class: "reach" }),
      s("circle", { cx: x(pair.difference), cy: 8.5, r: 3.5, class: "mean" }),
    ),
  );
}

function shares(part, tasks, query, change) {
  const chosen = query.get("part") === part ? query.get("cell") : null;
  return h(
    "div",
    { class: "cells", role: "group", "aria-label": `Tasks of ${part}` },
    CELLS.map(([cell, title]) => {
      const n = tasks.filter((task) => task.cell === cell).length;
      const on = chosen === cell;
      return (
        n > 0 &&
        h(
          "button",
          {
            type: "button",
            class: `pair-cell pair-${cell}`,
            "--part": n / tasks.length,
            "aria-pressed": String(on),
            "aria-label": `${title}: ${n}`,
            title: `${title}: ${n}`,
            "data-key": `cell:${part}:${cell}`,
            onclick: () => change(on ? { part: "", cell: "" } : { part, cell }),
          },
          count(n),
        )
      );
    }),
  );
}

const TITLES = Object.fromEntries(CELLS);
const ORDER = ["lost", "won", "neither", "both"]; // What differs comes first.

function taskList({ first, second, paired, query, change }) {
  const [part, cell] = [query.get("part") || "", query.get("cell") || ""];
  const all = [...paired.values()]
    .flat()
    .filter((t) => (!part || t.part === part) && (!cell || t.cell === cell));
  all.sort((a, b) => ORDER.indexOf(a.cell) - ORDER.indexOf(b.cell));
  const heads = ["", "task", "set", shorten(nameOf(first), 20), shorten(nameOf(second), 20)];
  const legend = CELLS.map(([name, title]) =>
    h("span", { class: "legend-item" }, h("i", { class: `pair-${name}` }), title),
  );
  const undo = () => change({ part: "", cell: "" });
  return h(
    "section",
    { "aria-label": "Tasks" },
    h(
      "div",
      { class: "section-head" },
      h("h2", {}, "Tasks"),
      h("p", { class: "legend" }, legend),
      (part || cell) &&
        h(
          "button",
          { type: "button", class: "quiet", onclick: undo },
          `${part}: ${TITLES[cell] || "all"} ×`,
        ),
      h("span", { class: "faint" }, plural(all.length, "task")),
    ),
    tableOf(
      { class: "plain tasks" },
      heads,
      all.slice(0, LISTED).map((t) => taskRow(t, first, second)),
    ),
    all.length > LISTED &&
      h(
        "p",
        { class: "faint note" },
        `The first ${LISTED} are listed; choose a set and a kind above to see others.`,
      ),
  );
}

function taskRow(task, first, second) {
  const there = address(["compare", first.id, second.id, "task", task.part, task.task]);
  return h(
    "tr",
    { "data-task": task.task },
    h("td", {}, h("i", { class: `pair-dot pair-${task.cell}`, title: TITLES[task.cell] })),
    h("th", { scope: "row" }, link(there, shorten(task.task, 72))),
    h("td", { class: "faint" }, task.part),
    h("td", {}, reached(task.a), turnsOf(first, task.first)),
    h("td", {}, reached(task.b), turnsOf(second, task.second)),
  );
}

// Solved, not solved, or how much of it, over the attempts.
const reached = (value) =>
  outcomeMark(value > 0, value > 0 && value < 1 ? `${percent(value, 0)} % ` : "");
const turnsOf = (run, n) => h("span", { class: "faint" }, plural(run.episodes.turns[n], "turn"));
