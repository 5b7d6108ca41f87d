// All runs against all sets of tasks: means with intervals, and what they cost.

import { h, link, choice } from "./dom.js";
import { brief, count, duration, interval, isNumber, money, nameOf, number, percent, whence, words } from "./format.js";
import { intervalBar } from "./bars.js";
import { address, remember, runLink } from "./route.js";

const BASELINES = ["expert", "random", "noop", "scripted", "replay"];

export const isBaseline = (run) => run.kind === "evaluation" && BASELINES.includes(run.about?.asked?.contestant?.name);

export function leaderboard({ index, query, redraw }) {
  const rows = index.runs.flatMap(entries);
  const show = query.get("show") || "headline";
  const picked = (query.get("pick") || "").split(",").filter((id) => index.runs.some((run) => run.id === id));
  const measures = measuresOf(rows);
  const change = (changes) => { remember(changes); redraw(); };
  const pick = (id) => {
    const now = picked.includes(id) ? picked.filter((other) => other !== id) : [...picked, id].slice(-2);
    change({ pick: now.join(",") });
  };
  const context = { show, picked, pick, change, sort: query.get("sort") || "", order: query.get("order") || "down" };
  return h(
    "div",
    { class: "page wide" },
    h("header", { class: "lead" },
      h("h1", {}, index.title || "Runs"),
      h("p", { class: "faint" }, `Means in per cent, with 95 % intervals.${rows.some((row) => row.baseline) ? " Thin ticks are the baselines." : ""}`)),
    h("div", { class: "toolbar" },
      measures.length > 1 && choice("Measure", measures.map((m) => [m, words(m)]), show, (value) => change({ show: value === "headline" ? "" : value })),
      comparing(picked)),
    rows.length ? blocks(rows).map((block) => matrix(block, context)) : h("p", { class: "waiting" }, "No run yet."),
  );
}

// A training run has a line for each of its stages that was measured.
function entries(run) {
  const stages = [...new Set((run.parts || []).map((part) => part.stage || ""))];
  return (stages.length ? stages : [""]).reverse().map((stage) => {
    const parts = new Map();
    for (const part of run.parts || []) if ((part.stage || "") === stage) parts.set(part.name, part);
    return { run, stage, parts, baseline: isBaseline(run) };
  });
}

// Rows that share no set of tasks stand in tables of their own.
function blocks(rows) {
  const found = [];
  for (const row of rows) {
    const names = [...row.parts.keys()];
    const home = found.find((block) => names.some((name) => block.names.includes(name)) || !(names.length || block.names.length));
    if (home) {
      home.rows.push(row);
      home.names.push(...names.filter((name) => !home.names.includes(name)));
    } else found.push({ names, rows: [row] });
  }
  return found.sort((a, b) => Boolean(b.names.length) - Boolean(a.names.length) || b.rows.length - a.rows.length);
}

function measuresOf(rows) {
  const parts = rows.flatMap((row) => [...row.parts.values()]);
  const ks = (field, sign) => [...new Set(parts.flatMap((p) => Object.keys(p[field] || {})))].sort((a, b) => a - b).map((k) => `pass${sign}${k}`);
  const some = (test, name) => (parts.some(test) ? [name] : []);
  return [
    "headline",
    ...some((p) => p.metric === "score", "success"),
    ...some((p) => p.metric === "score" && p.score, "score"),
    ...some((p) => p.without_faults && p.faults > 0, "without faults"),
    ...ks("pass_at", "@"),
    ...ks("pass_hat", "^"),
  ];
}

// The results that a run ends with: of each set those of the last stage.
export function lastStages(run) {
  return new Map((run.parts || []).map((part) => [part.name, part]));
}

export function headline(part) {
  return part.metric === "score" && part.score ? part.score : part.success;
}

function measured(part, show) {
  if (!part) return null;
  const [, sign, k] = show.match(/^pass([@^])(\d+)$/) || [];
  if (k) return (sign === "@" ? part.pass_at : part.pass_hat)?.[k] || null;
  if (show === "success" || show === "score") return part[show];
  if (show === "without faults") return part.without_faults;
  return headline(part);
}

const parts = (row) => [...row.parts.values()];
const sum = (row, of) => parts(row).reduce((total, part) => total + (of(part) || 0), 0);

function perEpisode(row, of) {
  const known = parts(row).filter((part) => isNumber(of(part)));
  const n = known.reduce((total, part) => total + (part.success?.episodes || 1), 0);
  return n ? known.reduce((total, part) => total + of(part) * (part.success?.episodes || 1), 0) / n : null;
}

const tokensOf = (part) => {
  const kinds = Object.values(part.tokens || {});
  return kinds.length ? kinds.reduce((a, b) => a + b, 0) : null;
};

function columns(block, show) {
  const ofPart = (name) => ({
    name,
    estimate: true,
    value: (row) => measured(row.parts.get(name), show)?.mean,
    cell: (row, ghosts) => estimateCell(row, row.parts.get(name), show, ghosts),
  });
  const plain = (name, value, form, title) => ({ name, title, value, cell: (row) => h("td", { class: "n" }, form(value(row))) });
  const played = (row) => sum(row, (p) => p.success?.episodes) || row.run.episodes?.count;
  const learnt = (row) => row.run.curves?.findLast((curve) => curve.name === "success")?.y.findLast(isNumber);
  const cost = (row) => (parts(row).some((p) => isNumber(p.cost)) ? sum(row, (p) => p.cost) : null);
  return [
    ...(block.names.length > 1 ? [{ ...plain("mean", (row) => meanOf(row, block.names, show), percent, "unweighted, over all sets"), strong: true }] : []),
    ...block.names.map(ofPart),
    ...(block.names.length ? [] : [plain("success in training", learnt, percent, "of the last iteration")]),
    plain("episodes", played, count),
    plain("turns", (row) => perEpisode(row, (p) => p.turns), (v) => number(v, 1), "of an episode"),
    plain("tokens", (row) => perEpisode(row, tokensOf), (v) => (v ? brief(v) : "–"), "of an episode, read and written"),
    plain("faults", (row) => sum(row, (p) => p.faults), count, "episodes that the agent did not end"),
    plain("time", (row) => row.run.seconds, duration),
    ...(block.rows.some((row) => cost(row)) ? [plain("cost", cost, money)] : []),
  ];
}

function meanOf(row, names, show) {
  const values = names.map((name) => measured(row.parts.get(name), show)?.mean);
  return values.every(isNumber) ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

function matrix(block, context) {
  const shown = columns(block, context.show);
  const key = shown.find((column) => column.name === context.sort) || shown[0];
  const sign = context.order === "up" ? 1 : -1;
  const rows = [...block.rows].sort((a, b) => sign * ((key.value(a) ?? -Infinity) - (key.value(b) ?? -Infinity) || 0));
  return h(
    "div",
    { class: "scroller", tabindex: "0", role: "region", "aria-label": `Results: ${block.names.join(", ")}`, "data-scroll": `board-${block.names[0]}` },
    h("table", { class: "board" },
      h("thead", {}, h("tr", {}, h("th", { class: "unseen-cell" }, h("span", { class: "unseen" }, "compare")), h("th", {}, "run"), shown.map((column) => columnTitle(column, key, block, context)))),
      h("tbody", {}, rows.map((row) => line(row, shown, block, context)))),
  );
}

function columnTitle(column, key, block, context) {
  const sorted = column === key;
  const order = sorted && context.order === "down" ? "up" : "down";
  const sizes = new Set(block.rows.map((row) => row.parts.get(column.name)?.success?.episodes).filter(isNumber));
  return h(
    "th",
    { class: column.estimate ? "e" : "n", "aria-sort": sorted ? (context.order === "up" ? "ascending" : "descending") : "none", title: column.title },
    h("button", { type: "button", class: "sort", "data-key": `sort:${column.name}`, onclick: () => context.change({ sort: column.name, order: order === "down" ? "" : order }) },
      column.name, h("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (context.order === "up" ? "↑" : "↓") : "")),
    column.estimate && sizes.size === 1 && h("span", { class: "under" }, `n = ${count([...sizes][0])}`),
  );
}

function line(row, shown, block, context) {
  const { run } = row;
  const others = block.rows.filter((other) => other.baseline && other !== row);
  const ghosts = (name) => others.map((other) => measured(other.parts.get(name), context.show)?.mean).filter(isNumber);
  return h(
    "tr",
    { "data-run": run.id, class: row.baseline ? "baseline" : null },
    h("td", {}, h("input", { type: "checkbox", "aria-label": `compare ${nameOf(run)}`, checked: context.picked.includes(run.id), "data-key": `pick:${run.id}:${row.stage}`, onchange: () => context.pick(run.id) })),
    h("th", { scope: "row" }, link(runLink(run), nameOf(run)), under(row)),
    shown.map((column) => {
      const cell = column.cell(row, column.estimate && !row.baseline ? ghosts(column.name) : []);
      if (column.strong) cell.classList.add("strong");
      return cell;
    }),
  );
}

function under(row) {
  const said = row.baseline ? "baseline" : row.stage ? { imitation: "after the warm start", rl: "after RL" }[row.stage] || words(row.stage) : whence(row.run) || words(row.run.kind);
  return h("span", { class: "under", title: said }, said, row.run.ended === false && h("span", { class: "running" }, " running"));
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
  return h("td", { class: "e", title: details.filter(Boolean).join("\n") },
    h("span", { class: "value" }, percent(estimate.mean), part.faults > 0 && h("sup", { class: "fault" }, `${part.faults}`)),
    intervalBar(estimate, { width: 92, ghosts, quiet: row.baseline }));
}

function comparing(picked) {
  const ready = picked.length === 2;
  return h("p", { class: "comparing" },
    ready ? link(address(["compare", ...picked]), "Compare the two →") : h("span", { class: "faint" }, picked.length ? "Pick one more to compare." : "Pick two to compare."));
}
