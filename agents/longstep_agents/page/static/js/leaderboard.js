// All runs against all sets of tasks: means with intervals, and what they cost.

import { h, link, choice } from "./dom.js";
import { brief, count, duration, interval, isNumber, money, nameOf, number, percent, whence, words } from "./format.js";
import { intervalBar } from "./bars.js";
import { blocks, entries, meanOf, measured, measuresOf, partsOf, perEpisode, sumOver, tokensOf } from "./results.js";
import { address, remember, runLink } from "./route.js";

export function leaderboard({ index, query, redraw }) {
  const rows = index.runs.flatMap(entries);
  const show = query.get("show") || "headline";
  const picked = (query.get("pick") || "")
    .split(",")
    .filter((id) => index.runs.some((run) => run.id === id));
  const measures = measuresOf(rows);
  const change = (changes) => {
    remember(changes);
    redraw();
  };
  const pick = (id) => {
    const now = picked.includes(id)
      ? picked.filter((other) => other !== id)
      : [...picked, id].slice(-2);
    change({ pick: now.join(",") });
  };
  const context = {
    show,
    picked,
    pick,
    change,
    sort: query.get("sort") || "",
    order: query.get("order") || "down",
  };
  return h(
    "div",
    { class: "page wide" },
    h(
      "header",
      { class: "lead" },
      h("h1", {}, index.title || "Runs"),
      h(
        "p",
        { class: "faint" },
        `Means in per cent, with 95 % intervals.${rows.some((row) => row.baseline) ? " Thin ticks are the baselines." : ""}`,
      ),
    ),
    h(
      "div",
      { class: "toolbar" },
      measures.length > 1 &&
        choice(
          "Measure",
          measures.map((m) => [m, words(m)]),
          show,
          (value) => change({ show: value === "headline" ? "" : value }),
        ),
      comparing(picked),
    ),
    rows.length
      ? blocks(rows).map((block) => matrix(block, context))
      : h("p", { class: "waiting" }, "No run yet."),
  );
}

// What stands beside the sets of tasks: of all of a run's episodes together.
const learnt = (row) =>
  row.run.curves?.findLast((curve) => curve.name === "success")?.y.findLast(isNumber);
const played = (row) => sumOver(row, (p) => p.success?.episodes) || row.run.episodes?.count;
const cost = (row) =>
  partsOf(row).some((p) => isNumber(p.cost)) ? sumOver(row, (p) => p.cost) : null;
const TOTALS = [
  { name: "episodes", value: played, form: count },
  {
    name: "turns",
    value: (row) => perEpisode(row, (p) => p.turns),
    form: (v) => number(v, 1),
    title: "of an episode",
  },
  {
    name: "tokens",
    value: (row) => perEpisode(row, tokensOf),
    form: (v) => (v ? brief(v) : "–"),
    title: "of an episode, read and written",
  },
  {
    name: "faults",
    value: (row) => sumOver(row, (p) => p.faults),
    form: count,
    title: "episodes that the agent did not end",
  },
  { name: "time", value: (row) => row.run.seconds, form: duration },
  { name: "cost", value: cost, form: money, ifAny: true },
];

function columns({ names, rows }, show) {
  const sets = names.map((name) => ({
    name,
    of: name,
    value: (row) => measured(row.parts.get(name), show)?.mean,
  }));
  const mean = {
    name: "mean",
    value: (row) => meanOf(row, names, show),
    form: percent,
    title: "unweighted, over all sets",
    strong: true,
  };
  const training = {
    name: "success in training",
    value: learnt,
    form: percent,
    title: "of the last iteration",
  };
  return [
    ...(names.length > 1 ? [mean] : []),
    ...(names.length ? sets : [training]),
    ...TOTALS.filter((total) => !total.ifAny || rows.some(total.value)),
  ];
}

function matrix(block, context) {
  const shown = columns(block, context.show);
  const key = shown.find((column) => column.name === context.sort) || shown[0];
  const sign = context.order === "up" ? 1 : -1;
  const rows = [...block.rows].sort(
    (a, b) => sign * ((key.value(a) ?? -Infinity) - (key.value(b) ?? -Infinity) || 0),
  );
  return h(
    "div",
    {
      class: "scroller",
      tabindex: "0",
      role: "region",
      "aria-label": `Results: ${block.names.join(", ")}`,
      "data-scroll": `board-${block.names[0]}`,
    },
    h(
      "table",
      { class: "board" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { class: "unseen-cell" }, h("span", { class: "unseen" }, "compare")),
          h("th", {}, "run"),
          shown.map((column) => columnTitle(column, key, block, context)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) => line(row, shown, block, context)),
      ),
    ),
  );
}

function columnTitle(column, key, block, context) {
  const sorted = column === key;
  const order = sorted && context.order === "down" ? "up" : "down";
  const sizes = new Set(
    block.rows.map((row) => row.parts.get(column.name)?.success?.episodes).filter(isNumber),
  );
  return h(
    "th",
    {
      class: column.of ? "e" : "n",
      "aria-sort": sorted ? (context.order === "up" ? "ascending" : "descending") : "none",
      title: column.title,
    },
    h(
      "button",
      {
        type: "button",
        class: "sort",
        "data-key": `sort:${column.name}`,
        onclick: () => context.change({ sort: column.name, order: order === "down" ? "" : order }),
      },
      column.name,
      h(
        "span",
        { class: "arrow", "aria-hidden": "true" },
        sorted ? (context.order === "up" ? "↑" : "↓") : "",
      ),
    ),
    column.of && sizes.size === 1 && h("span", { class: "under" }, `n = ${count([...sizes][0])}`),
  );
}

function line(row, shown, block, context) {
  const { run } = row;
  const others = block.rows.filter((other) => other.baseline && other !== row);
  const ghosts = (name) =>
    others.map((other) => measured(other.parts.get(name), context.show)?.mean).filter(isNumber);
  return h(
    "tr",
    { "data-run": run.id, class: row.baseline ? "baseline" : null },
    h(
      "td",
      {},
      h("input", {
        type: "checkbox",
        "aria-label": `compare ${nameOf(run)}`,
        checked: context.picked.includes(run.id),
        "data-key": `pick:${run.id}:${row.stage}`,
        onchange: () => context.pick(run.id),
      }),
    ),
    h("th", { scope: "row" }, link(runLink(run), nameOf(run)), under(row)),
    shown.map((column) =>
      column.of
        ? estimateCell(
            row,
            row.parts.get(column.of),
            context.show,
            row.baseline ? [] : ghosts(column.of),
          )
        : h("td", { class: column.strong ? "n strong" : "n" }, column.form(column.value(row))),
    ),
  );
}

function under(row) {
  const said = row.baseline
    ? "baseline"
    : row.stage
      ? { imitation: "after the warm start", rl: "after RL" }[row.stage] || words(row.stage)
      : whence(row.run) || words(row.run.kind);
  return h(
    "span",
    { class: "under", title: said },
    said,
    row.run.ended === false && h("span", { class: "running" }, " running"),
  );
}

function estimateCell(row, part, show, ghosts) {
  const estimate = measured(part, show);
  if (!estimate) return h("td", { class: "e faint" }, "–");
  const details = [
    `95 %: ${interval(estimate)}`,
    `${count(estimate.episodes)} episodes`,
    isNumber(part.turns) && `${number(part.turns, 1)} turns`,
    part.faults ? `${count(part.faults)} faults` : "no faults",
    part.retried ? `${count(part.retried)} retried` : null,
  ];
  return h(
    "td",
    { class: "e", title: details.filter(Boolean).join("\n") },
    h(
      "span",
      { class: "value" },
      percent(estimate.mean),
      part.faults > 0 && h("sup", { class: "fault" }, `${part.faults}`),
    ),
    intervalBar(estimate, { width: 92, ghosts, quiet: row.baseline }),
  );
}

function comparing(picked) {
  const ready = picked.length === 2;
  return h(
    "p",
    { class: "comparing" },
    ready
      ? link(address(["compare", ...picked]), "Compare the two →")
      : h(
          "span",
          { class: "faint" },
          picked.length ? "Pick one more to compare." : "Pick two to compare.",
        ),
  );
}
