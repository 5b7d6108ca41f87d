// The curves of a training run as small multiples: what belongs together stands in one chart.

import { choice, fold, h } from "./dom.js";
import { heatField } from "./bars.js";
import { lineChart } from "./chart.js";
import { brief, plural, words } from "./format.js";
import { remember } from "./route.js";

// Charts in reading order. `of` names curves; `under` takes every curve whose name begins so.
const CHARTS = [
  { title: "reward", of: ["reward"] },
  { title: "parts of the reward", under: ["parts.", "rewards.", "terms."] },
  { title: "gates open", under: ["gates."], rate: true, whole: true },
  { title: "entropy", of: ["entropy"] },
  { title: "entropy by turn", heat: "entropy_by_turn." },
  { title: "turns", of: ["turns"] },
  { title: "KL", of: ["reference_kl", "sampler_kl"] },
  { title: "clip fraction", of: ["clip_fraction"], rate: true },
  {
    title: "invalid actions and parse errors",
    of: ["invalid_actions", "parse_errors", "unparsed"],
  },
  { title: "episodes that failed to run", of: ["failed_episodes", "faults"] },
  { title: "staleness", of: ["staleness"] },
  { title: "loss", of: ["loss"] },
  { title: "gradient norm", of: ["grad_norm"] },
  { title: "groups of equal outcome", of: ["uniform_groups"], rate: true },
  { title: "steps that share a state", of: ["anchor_group_size"] },
  { title: "seconds of an iteration", under: ["timing."] },
  { title: "tokens a second", of: ["tokens_per_second", "sampled_tokens_per_second"] },
];
const LEFT_OUT = ["success", "seconds", "episodes", "iteration"];
const MANY_LINES = 5;

export function curvesSection(run, query, redraw) {
  const curves = run.curves || [];
  const phases = [...new Set(curves.map((curve) => curve.phase))];
  if (!phases.length) return null;
  const asked = query.get("curves");
  const phase = [asked, "rl", phases.at(-1)].find((name) => phases.includes(name));
  const held = new Map(
    curves
      .filter((curve) => curve.phase === phase && curve.x.length)
      .map((curve) => [curve.name, curve]),
  );
  if (phase === "rl") addSmoothingBand(held, run.about?.config?.rl?.entropy);
  const { first, more } = charts(held);
  return h(
    "section",
    { class: "curves", "aria-label": "Training curves" },
    h(
      "div",
      { class: "section-head" },
      h("h2", {}, "Training"),
      phases.length > 1 &&
        choice(
          "Phase",
          phases.map((p) => [p, p === "rl" ? "RL" : words(p)]),
          phase,
          (value) => {
            remember({ curves: value });
            redraw();
          },
        ),
    ),
    h("div", { class: "curve-grid" }, successChart(run, held, phase), first),
    more.length > 0 &&
      fold("more-curves", `${plural(more.length, "more curve")}`, () =>
        h(
          "div",
          { class: "curve-grid" },
          more.map((name) => small({ title: words(name.replaceAll(".", ", ")) }, [name], held)),
        ),
      ),
    constants(held),
    h(
      "p",
      { class: "faint note" },
      "Faint: each iteration. Lines: running means; bands: 95 % of those means, from the scatter about them. Points with whiskers: evaluation sets.",
    ),
  );
}

function successChart(run, held, phase) {
  const curve = held.get("success");
  const marks = marksOf(run, phase);
  if (!curve && !marks.length) return null;
  const names = [...new Set(marks.map((mark) => mark.name))];
  const series = curve ? [named(held, curve, "training")] : [];
  const chart = lineChart({
    title: "success",
    rate: true,
    whole: true,
    height: 276,
    series,
    marks: marks.map((mark) => ({
      name: mark.name,
      x: mark.iteration,
      estimate: mark.estimate,
      shape: names.indexOf(mark.name) % 4,
    })),
  });
  chart.classList.add("chart-large");
  if (names.length) {
    chart.append(
      h(
        "ul",
        { class: "legend" },
        names.map((name, i) => h("li", {}, h("i", { class: `shape shape-${i % 4}` }), name)),
      ),
    );
  }
  return chart;
}

// What the evaluation sets gave; at iteration 0 what the phase before has ended with.
function marksOf(run, phase) {
  const known = (run.marks || []).filter((mark) => mark.estimate);
  const earlier = known.filter((mark) => phase === "rl" && mark.phase !== phase);
  const began = new Map(earlier.map((mark) => [mark.name, { ...mark, iteration: 0 }]));
  return [...began.values(), ...known.filter((mark) => mark.phase === phase)];
}

// A curve with its band, where one was recorded beside it.
function named(held, curve, label) {
  const low = held.get(`${curve.name}_low`)?.y;
  const high = held.get(`${curve.name}_high`)?.y;
  return { name: curve.name, label, x: curve.x, y: curve.y, ...(low && high ? { low, high } : {}) };
}

function charts(held) {
  const used = new Set([...LEFT_OUT, ...bands(held)]);
  const made = CHARTS.map((chart) => {
    const names = [...held.keys()].filter(
      (name) => belongs(chart, name) && !used.has(name) && varies(held.get(name)),
    );
    names.forEach((name) => used.add(name));
    return names.length ? small(chart, names, held) : null;
  });
  return {
    first: made,
    more: [...held.keys()].filter((name) => !used.has(name) && varies(held.get(name))),
  };
}

// EPO holds entropy between multiples of the mean of all past iterations. It does so turn by turn;
// drawn is the same band about the mean over turns.
function addSmoothingBand(held, entropy) {
  const curve = held.get("entropy");
  if (entropy?.name !== "epo" || !curve) return;
  let [sum, n] = [0, 0];
  const past = curve.y.map((value) => {
    const mean = n ? sum / n : null;
    if (Number.isFinite(value)) [sum, n] = [sum + value, n + 1];
    return mean;
  });
  const times = (factor) => past.map((mean) => (mean === null ? null : factor * mean));
  held.set("entropy_low", { ...curve, name: "entropy_low", y: times(entropy.low ?? 0.8) });
  held.set("entropy_high", { ...curve, name: "entropy_high", y: times(entropy.high ?? 1.2) });
}

const bands = (held) =>
  [...held.keys()].filter(
    (name) => /_(low|high)$/.test(name) && held.has(name.replace(/_(low|high)$/, "")),
  );

// What never changed needs no chart, but is said: no fault at all is a result.
function constants(held) {
  const said = [...held.values()].filter(
    (curve) => !LEFT_OUT.includes(curve.name) && !varies(curve),
  );
  if (!said.length) return null;
  return h(
    "p",
    { class: "note constants" },
    "The same throughout: ",
    said.map((curve, i) => [
      i ? " · " : "",
      words(curve.name.replaceAll(".", ", ")),
      " ",
      h("b", {}, brief(curve.y.find(Number.isFinite))),
    ]),
  );
}

const belongs = (chart, name) =>
  chart.of?.includes(name) ||
  chart.under?.some((start) => name.startsWith(start)) ||
  (chart.heat && name.startsWith(chart.heat));

const varies = (curve) => curve.y.some((value) => Number.isFinite(value) && value !== curve.y[0]);

function small(chart, names, held) {
  if (chart.heat) return heat(chart, names, held);
  const shown = names.slice(0, MANY_LINES);
  const label = (name) =>
    words(
      name
        .split(".")
        .at(-1)
        .replace(/^gate_/, ""),
    )
      .replace("reference kl", "reference")
      .replace("sampler kl", "sampler")
      .replace(" per second", "");
  const title = shown.length === 1 && chart.of?.length > 1 ? words(shown[0]) : chart.title;
  return lineChart({
    title,
    rate: chart.rate,
    whole: chart.whole,
    series: shown.map((name) => named(held, held.get(name), label(name))),
  });
}

function heat(chart, names, held) {
  const rows = names
    .map((name) => ({ label: Number(name.slice(chart.heat.length)), ...held.get(name) }))
    .filter((row) => Number.isFinite(row.label))
    .sort((a, b) => a.label - b.label);
  return rows.length ? heatField(chart.title, "", rows) : null;
}
