// Small pictures of a few numbers: an interval, shares of a whole, a histogram, a field of heat.

import { h, s, sized, tableOf } from "./dom.js";
import { count, percent, words } from "./format.js";
import { scale, ticks } from "./scale.js";

// Mean and 95 % interval on a line from 0 to 1; `ghosts` are values to hold it against.
export function intervalBar(estimate, { width = 104, ghosts = [], quiet = false } = {}) {
  const x = scale([0, 1], [4, width - 4]);
  const [low, mean, high] = [estimate.low, estimate.mean, estimate.high].map((v) =>
    x(Math.min(Math.max(v, 0), 1)),
  );
  return s(
    "svg",
    { width, height: 16, class: `interval${quiet ? " quiet-mark" : ""}`, "aria-hidden": "true" },
    s("line", { x1: x(0), x2: x(1), y1: 8.5, y2: 8.5, class: "track" }),
    [0, 0.5, 1].map((v) => s("line", { x1: x(v), x2: x(v), y1: 6, y2: 11, class: "track" })),
    ghosts.map((v) => s("line", { x1: x(v), x2: x(v), y1: 3, y2: 14, class: "ghost" })),
    s("line", { x1: low, x2: Math.max(high, low + 1), y1: 8.5, y2: 8.5, class: "reach" }),
    s("circle", { cx: mean, cy: 8.5, r: 3.5, class: "mean" }),
  );
}

// Rows of name, interval and number, in the order given; `before` are to be held against them.
export function estimateRows(title, estimates, before) {
  const row = ([name, e]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, words(name)),
      h(
        "td",
        {},
        intervalBar(e, { width: 120, ghosts: before?.[name] ? [before[name].mean] : [] }),
      ),
      h(
        "td",
        { class: "n", title: `95 %: ${percent(e.low)} – ${percent(e.high)}` },
        percent(e.mean),
      ),
      h("td", { class: "n faint" }, count(e.episodes)),
    );
  const rows = Object.entries(estimates || {}).map(row);
  const heads = [title, "interval", ["mean, %", "n"], ["episodes", "n"]];
  return h("section", { class: "rates" }, tableOf({ class: "plain quiet-head" }, heads, rows));
}

// Shares of a whole as one bar with a legend; `kinds` maps a name to a class, for known meanings.
export function sharesBar(title, counts, kinds = {}) {
  const entries = Object.entries(counts || {})
    .filter(([, n]) => n > 0)
    .sort((a, b) => b[1] - a[1]);
  const total = entries.reduce((sum, [, n]) => sum + n, 0);
  if (!total) return null;
  const kind = (name, i) => kinds[name] || `share-${i % 6}`;
  return h(
    "section",
    { class: "shares" },
    h("h3", {}, title),
    h(
      "div",
      {
        class: "share-bar",
        role: "img",
        "aria-label": entries.map(([name, n]) => `${words(name)} ${n}`).join(", "),
      },
      entries.map(([name, n], i) =>
        h("span", {
          class: kind(name, i),
          "--part": n / total,
          title: `${words(name)}: ${count(n)}`,
        }),
      ),
    ),
    h(
      "ul",
      { class: "legend" },
      entries.map(([name, n], i) =>
        h(
          "li",
          {},
          h("i", { class: kind(name, i) }),
          words(name),
          h("b", {}, count(n)),
          h("span", { class: "faint" }, `${percent(n / total)} %`),
        ),
      ),
    ),
  );
}

// How many episodes took how many turns; what succeeded is filled.
export function turnsHistogram(title, turns, success) {
  if (!turns.length) return null;
  const most = turns.reduce((a, b) => Math.max(a, b), 1);
  const step = Math.max(1, Math.ceil(most / 50));
  const bins = Array.from({ length: Math.floor(most / step) + 1 }, () => [0, 0]);
  turns.forEach((t, i) => {
    bins[Math.floor(t / step)][success[i] ? 0 : 1] += 1;
  });
  return h(
    "section",
    { class: "shares" },
    h("h3", {}, title),
    sized((width) => drawBins(bins, step, width, title), { class: "plot histogram" }),
    h(
      "ul",
      { class: "legend" },
      h("li", {}, h("i", { class: "solved" }), "solved"),
      h("li", {}, h("i", { class: "missed" }), "not solved"),
    ),
  );
}

function drawBins(bins, step, width, title) {
  const [height, foot] = [132, 20];
  const tallest = bins.reduce((most, [won, lost]) => Math.max(most, won + lost), 1);
  const x = scale([0, bins.length * step], [0, width]);
  const y = scale([0, tallest], [0, height - foot - 14]);
  const wide = Math.max(x(step) - Math.min(2, x(step) * 0.2), 1);
  const top = (n) => height - foot - y(n);
  const label = (k) => `${k * step}${step > 1 ? `–${(k + 1) * step - 1}` : ""}`;
  return s(
    "svg",
    { width, height, role: "img", "aria-label": title },
    bins.map(([won, lost], k) =>
      s(
        "g",
        {},
        lost > 0 &&
          s("rect", {
            x: x(k * step),
            y: top(won + lost),
            width: wide,
            height: y(lost),
            class: "missed",
          }),
        won > 0 &&
          s("rect", { x: x(k * step), y: top(won), width: wide, height: y(won), class: "solved" }),
        won + lost === tallest &&
          s(
            "text",
            { x: x(k * step) + wide / 2, y: top(tallest) - 4, "text-anchor": "middle" },
            count(tallest),
          ),
        s("title", {}, `${label(k)} turns: ${won} solved, ${lost} not`),
      ),
    ),
    s("line", {
      x1: 0,
      x2: width,
      y1: height - foot + 0.5,
      y2: height - foot + 0.5,
      class: "base",
    }),
    ticks(0, bins.length * step - step, 5).map((t) =>
      s("text", { x: x(t) + wide / 2, y: height - 5, "text-anchor": "middle" }, String(t)),
    ),
  );
}

const HEAT_COLUMNS = 64;

// Rows of numbers over iterations as a field of one hue: the darker, the more.
export function heatField(title, note, rows) {
  const x = rows[0]?.x || [];
  const wide = Math.max(1, Math.ceil(x.length / HEAT_COLUMNS));
  const columns = Math.ceil(x.length / wide);
  const mean = (y, c) => {
    const held = y.slice(c * wide, (c + 1) * wide).filter(Number.isFinite);
    return held.length ? held.reduce((a, b) => a + b, 0) / held.length : null;
  };
  const cells = rows.map((row) => Array.from({ length: columns }, (_, c) => mean(row.y, c)));
  const most = cells.flat().reduce((a, b) => Math.max(a, b ?? 0), 0) || 1;
  const [w, tall] = [8, 112 / rows.length];
  const told = h("span", { class: "told-value" }, note);
  const say = (row, c, value) => () => {
    told.textContent = `${x[c * wide]}, turn ${row.label}: ${value.toFixed(2)}`;
  };
  const field = cells.flatMap((line, r) =>
    line.map((value, c) =>
      value === null
        ? null
        : s("rect", {
            x: c * w,
            y: r * tall,
            width: w + 0.3,
            height: tall + 0.3,
            class: "heat",
            "--part": (value / most).toFixed(3),
            onpointerenter: say(rows[r], c, value),
          }),
    ),
  );
  const some = [0, Math.floor((rows.length - 1) / 2), rows.length - 1].filter(
    (r, i, all) => all.indexOf(r) === i,
  );
  return h(
    "figure",
    { class: "chart", role: "img", "aria-label": `${title}: at most ${most.toFixed(2)}` },
    h("figcaption", {}, h("span", { class: "chart-title" }, title), told),
    s(
      "svg",
      {
        viewBox: `0 0 ${columns * w} 112`,
        preserveAspectRatio: "none",
        class: "heat-field",
        "aria-hidden": "true",
      },
      field,
    ),
    h(
      "div",
      { class: "heat-scale", "aria-hidden": "true" },
      h("span", {}, `turn ${rows[some[0]].label} at the top, ${rows.at(-1).label} at the bottom`),
      h("i", {}),
      h("span", {}, `0 – ${most.toFixed(2)}`),
    ),
  );
}
