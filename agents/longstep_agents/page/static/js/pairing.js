// Two runs task by task: who solved what.

import { lastStages } from "./results.js";

// Part to tasks; of each task the two means over its attempts, and one episode of each run.
export function pairTasks(first, second) {
  const paired = new Map();
  const ours = byTask(first);
  for (const [part, theirs] of byTask(second)) {
    const tasks = [];
    const metric = lastStages(second).get(part)?.metric === "score" ? "score" : "success";
    for (const [task, b] of theirs) {
      const a = ours.get(part)?.get(task);
      if (a)
        tasks.push({
          part,
          task,
          a: mean(first, a, metric),
          b: mean(second, b, metric),
          first: a[0],
          second: b[0],
        });
    }
    if (tasks.length)
      paired.set(
        part,
        tasks.map((pair) => ({ ...pair, cell: cellOf(pair) })),
      );
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

const mean = (run, held, metric) =>
  held.reduce((sum, i) => sum + (run.episodes[metric][i] || 0), 0) / held.length;

function cellOf({ a, b }) {
  if (Math.abs(a - b) > 1e-9) return b > a ? "won" : "lost";
  return a > 0 ? "both" : "neither";
}

// The index keeps a pair in one order only; turned round, its signs change.
export function pairOf(index, first, second, part) {
  const pairs = (index.pairs || []).filter((p) => p.part === part);
  const straight = pairs.find((p) => p.first === first.id && p.second === second.id);
  if (straight) return straight;
  const turned = pairs.find((p) => p.first === second.id && p.second === first.id);
  return turned
    ? {
        ...turned,
        difference: -turned.difference,
        low: -turned.high,
        high: -turned.low,
        won: turned.lost,
        lost: turned.won,
      }
    : null;
}
