// Two runs, paired by task: which tasks one solves and the other does not, and how sure that is.

import { h, link, s } from "./dom.js";
import { chance, count, isNumber, nameOf, percent, plural, shorten, signed } from "./format.js";
import { intervalBar } from "./bars.js";
import { headline, lastStages } from "./leaderboard.js";
import { address, remember, runLink } from "./route.js";
import { scale } from "./scale.js";

const CELLS = [["won", "only the second"], ["both", "both"], ["neither", "neither"], ["lost", "only the first"]];
const LISTED = 300;

export function compareView({ index, first, second, query, redraw }) {
  const change = (changes) => { remember(changes); redraw(); };
  const paired = pairTasks(first, second);
  return h(
    "div",
    { class: "page wide" },
    h("header", { class: "lead" },
      h("p", { class: "eyebrow" }, "Compare, task by task"),
      h("h1", {}, link(runLink(first), nameOf(first)), h("span", { class: "against" }, " against "), link(runLink(second), nameOf(second)))),
    h("div", { class: "toolbar" }, picker("First", index, first, (id) => address(["compare", id, second.id])), picker("Second", index, second, (id) => address(["compare", first.id, id])),
      link(address(["compare", second.id, first.id]), "Swap")),
    paired.size
      ? [partTable({ index, first, second, paired, query, change }), taskList({ first, second, paired, query, change })]
      : h("p", { class: "waiting" }, "These two have no task in common."),
  );
}

function picker(label, index, current, to) {
  return h("label", { class: "picker" }, `${label} `, h("select", { "data-key": `picker:${label}`, onchange: (event) => { location.hash = to(event.target.value); } },
    index.runs.map((run) => h("option", { value: run.id, selected: run === current }, shorten(nameOf(run), 40)))));
}

// Part to tasks; of each task the two means over its attempts, and one episode of each run.
export function pairTasks(first, second) {
  const paired = new Map();
  const ours = byTask(first);
  for (const [part, theirs] of byTask(second)) {
    const tasks = [];
    const metric = lastStages(second).get(part)?.metric === "score" ? "score" : "success";
    for (const [task, b] of theirs) {
      const a = ours.get(part)?.get(task);
      if (a) tasks.push({ part, task, a: mean(first, a, metric), b: mean(second, b, metric), first: a[0], second: b[0] });
    }
    if (tasks.length) paired.set(part, tasks.map((pair) => ({ ...pair, cell: cellOf(pair) })));
  }
  return paired;
}

function byTask(run) {
  const e = run.episodes || { count: 0 };
  const parts = new Map();
  for (let i = 0; i < e.count; i += 1) {
    if (e.superseded?.[i] || (run.kind === "training" && e.phase[i] !== "eval")) continue;
    const tasks = parts.get(e.part[i]) || parts.set(e.part[i], new Map()).get(e.part[i]);
    // A training run plays a set again and again: its last time counts.
    const before = run.kind === "training" ? [] : tasks.get(e.task_id[i]) || [];
    tasks.set(e.task_id[i], [...before, i]);
  }
  return parts;
}

const mean = (run, held, metric) => held.reduce((sum, i) => sum + (run.episodes[metric][i] || 0), 0) / held.length;

function cellOf({ a, b }) {
  if (Math.abs(a - b) > 1e-9) return b > a ? "won" : "lost";
  return a > 0 ? "both" : "neither";
}

function partTable({ index, first, second, paired, query, change }) {
  const found = [...paired.keys()].map((part) => ({ part, pair: pairOf(index, first, second, part) }));
  const reach = Math.max(0.1, ...found.map(({ pair }) => pair ? Math.max(Math.abs(pair.low), Math.abs(pair.high)) : 0));
  return h(
    "div",
    { class: "scroller", tabindex: "0", role: "region", "aria-label": "Parts", "data-scroll": "parts" },
    h("table", { class: "board parts" },
      h("thead", {}, h("tr", {}, h("th", {}, "set"), h("th", {}, shorten(nameOf(first), 24)), h("th", {}, shorten(nameOf(second), 24)), h("th", {}, "difference, in points"), h("th", { class: "n" }, "p"), h("th", {}, "tasks"))),
      h("tbody", {}, found.map(({ part, pair }) => h("tr", {},
        h("th", { scope: "row" }, part, h("span", { class: "under" }, plural(paired.get(part).length, "task"))),
        rateCell(first, part), rateCell(second, part),
        differenceCell(pair, reach),
        h("td", { class: "n", title: pair?.test }, chance(pair?.p).replace("p = ", "")),
        h("td", {}, shares(part, paired.get(part), query, change)))))),
  );
}

// The index keeps a pair in one order only; turned round, its signs change.
function pairOf(index, first, second, part) {
  const pairs = (index.pairs || []).filter((p) => p.part === part);
  const straight = pairs.find((p) => p.first === first.id && p.second === second.id);
  if (straight) return straight;
  const turned = pairs.find((p) => p.first === second.id && p.second === first.id);
  return turned ? { ...turned, difference: -turned.difference, low: -turned.high, high: -turned.low, won: turned.lost, lost: turned.won } : null;
}

function rateCell(run, name) {
  const part = lastStages(run).get(name);
  const found = part && headline(part);
  return h("td", { class: "e" }, found ? [h("span", { class: "value" }, percent(found.mean)), intervalBar(found, { width: 96 })] : "–");
}

function differenceCell(pair, reach) {
  if (!pair) return h("td", { class: "faint" }, "–");
  const x = scale([-reach, reach], [6, 174]);
  const side = pair.low > 0 ? "better" : pair.high < 0 ? "worse" : "open";
  const points = (v) => signed(100 * v, 1);
  return h("td", { class: "e", title: `95 %: ${points(pair.low)} to ${points(pair.high)}` },
    h("span", { class: "value" }, points(pair.difference), h("span", { class: "faint" }, `  ${points(pair.low)} to ${points(pair.high)}`)),
    s("svg", { width: 180, height: 16, class: `interval difference ${side}`, "aria-hidden": "true" },
      s("line", { x1: 6, x2: 174, y1: 8.5, y2: 8.5, class: "track" }), s("line", { x1: x(0), x2: x(0), y1: 1, y2: 16, class: "ghost" }),
      s("line", { x1: x(pair.low), x2: x(pair.high), y1: 8.5, y2: 8.5, class: "reach" }), s("circle", { cx: x(pair.difference), cy: 8.5, r: 3.5, class: "mean" })));
}

function shares(part, tasks, query, change) {
  const chosen = query.get("part") === part ? query.get("cell") : null;
  return h("div", { class: "cells", role: "group", "aria-label": `Tasks of ${part}` }, CELLS.map(([cell, title]) => {
    const n = tasks.filter((task) => task.cell === cell).length;
    const on = chosen === cell;
    return n > 0 && h("button", {
      type: "button", class: `pair-cell pair-${cell}`, "--part": n / tasks.length, "aria-pressed": String(on), "aria-label": `${title}: ${n}`, title: `${title}: ${n}`, "data-key": `cell:${part}:${cell}`,
      onclick: () => change(on ? { part: "", cell: "" } : { part, cell }),
    }, count(n));
  }));
}

function taskList({ first, second, paired, query, change }) {
  const [part, cell] = [query.get("part") || "", query.get("cell") || ""];
  const all = [...paired.values()].flat().filter((t) => (!part || t.part === part) && (!cell || t.cell === cell));
  const order = ["lost", "won", "neither", "both"];
  all.sort((a, b) => order.indexOf(a.cell) - order.indexOf(b.cell));
  const mark = (run, value, i) => [h("span", { class: value > 0 ? "solved-mark" : "missed-mark" }, isNumber(value) ? (value === 1 ? "●" : value === 0 ? "○" : `◐ ${percent(value, 0)}`) : "–"), h("span", { class: "faint" }, ` ${plural(run.episodes.turns[i], "turn")}`)];
  return h("section", { "aria-label": "Tasks" },
    h("div", { class: "section-head" }, h("h2", {}, "Tasks"),
      h("p", { class: "legend" }, CELLS.map(([name, title]) => h("span", { class: "legend-item" }, h("i", { class: `pair-${name}` }), title))),
      (part || cell) && h("button", { type: "button", class: "quiet", onclick: () => change({ part: "", cell: "" }) }, `${part}: ${CELLS.find(([name]) => name === cell)?.[1] || "all"} ×`),
      h("span", { class: "faint" }, plural(all.length, "task"))),
    h("table", { class: "plain tasks" },
      h("thead", {}, h("tr", {}, h("th", {}, ""), h("th", {}, "task"), h("th", {}, "set"), h("th", {}, shorten(nameOf(first), 20)), h("th", {}, shorten(nameOf(second), 20)))),
      h("tbody", {}, all.slice(0, LISTED).map((t) => h("tr", { "data-task": t.task },
        h("td", {}, h("i", { class: `pair-dot pair-${t.cell}`, title: CELLS.find(([name]) => name === t.cell)[1] })),
        h("th", { scope: "row" }, link(address(["compare", first.id, second.id, "task", t.part, t.task]), shorten(t.task, 72))),
        h("td", { class: "faint" }, t.part), h("td", {}, mark(first, t.a, t.first)), h("td", {}, mark(second, t.b, t.second)))))),
    all.length > LISTED && h("p", { class: "faint note" }, `The first ${LISTED} are listed; choose a set and a kind above to see others.`));
}
