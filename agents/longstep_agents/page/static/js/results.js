// What runs have reached: their sets of tasks, and the measure of each that is asked for.

import { isNumber } from "./format.js";

const BASELINES = ["expert", "random", "noop", "scripted", "replay"];

const isBaseline = (run) =>
  run.kind === "evaluation" && BASELINES.includes(run.about?.asked?.contestant?.name);

// A training run has a line for each of its stages that was measured.
export function entries(run) {
  const stages = [...new Set((run.parts || []).map((part) => part.stage || ""))];
  return (stages.length ? stages : [""]).reverse().map((stage) => {
    const parts = new Map();
    for (const part of run.parts || [])
      if ((part.stage || "") === stage) parts.set(part.name, part);
    return { run, stage, parts, baseline: isBaseline(run) };
  });
}

// Rows that share no set of tasks stand in tables of their own.
export function blocks(rows) {
  const found = [];
  for (const row of rows) {
    const names = [...row.parts.keys()];
    const home = found.find(
      (block) =>
        names.some((name) => block.names.includes(name)) || !(names.length || block.names.length),
    );
    if (home) {
      home.rows.push(row);
      home.names.push(...names.filter((name) => !home.names.includes(name)));
    } else found.push({ names, rows: [row] });
  }
  return found.sort(
    (a, b) => Boolean(b.names.length) - Boolean(a.names.length) || b.rows.length - a.rows.length,
  );
}

export function measuresOf(rows) {
  const parts = rows.flatMap((row) => [...row.parts.values()]);
  const ks = (field, sign) =>
    [...new Set(parts.flatMap((p) => Object.keys(p[field] || {})))]
      .sort((a, b) => a - b)
      .map((k) => `pass${sign}${k}`);
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

export function measured(part, show) {
  if (!part) return null;
  const [, sign, k] = show.match(/^pass([@^])(\d+)$/) || [];
  if (k) return (sign === "@" ? part.pass_at : part.pass_hat)?.[k] || null;
  if (show === "success" || show === "score") return part[show];
  if (show === "without faults") return part.without_faults;
  return headline(part);
}

export const partsOf = (row) => [...row.parts.values()];
export const sumOver = (row, of) =>
  partsOf(row).reduce((total, part) => total + (of(part) || 0), 0);

export function perEpisode(row, of) {
  const known = partsOf(row).filter((part) => isNumber(of(part)));
  const n = known.reduce((total, part) => total + (part.success?.episodes || 1), 0);
  return n
    ? known.reduce((total, part) => total + of(part) * (part.success?.episodes || 1), 0) / n
    : null;
}

export const tokensOf = (part) => {
  const kinds = Object.values(part.tokens || {});
  return kinds.length ? kinds.reduce((a, b) => a + b, 0) : null;
};

export function meanOf(row, names, show) {
  const values = names.map((name) => measured(row.parts.get(name), show)?.mean);
  return values.every(isNumber) ? values.reduce((a, b) => a + b, 0) / values.length : null;
}
