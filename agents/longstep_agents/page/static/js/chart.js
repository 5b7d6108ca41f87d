// Lines over iterations, with bands, points with intervals, direct labels and a read-out.

import { h, s, sized } from "./dom.js";
import { brief, percent } from "./format.js";
import { apart, domain, scale, smooth, ticks, windowFor } from "./scale.js";

const MARGIN = { top: 8, right: 12, bottom: 22, left: 36 };
const LABEL_WIDTH = 76;

// A chart: `{ title, note, series: [{ name, x, y, low, high }], marks: [{ name, x, estimate }],
// rate, whole, height }`: `rate` writes per cent, `whole` shows all of 0 to 100.
export function lineChart(chart) {
  const told = h("span", { class: "told-value" });
  return h(
    "figure",
    { class: "chart", role: "img", "aria-label": summary(chart) },
    h("figcaption", {}, h("span", { class: "chart-title" }, chart.title), told),
    sized((width) => drawChart(chart, width, told), { class: "plot" }),
  );
}

const form = (chart) => (chart.rate ? (value) => `${percent(value)} %` : brief);

function summary(chart) {
  const write = form(chart);
  const lines = chart.series.map(({ name, x, y }) => {
    const last = y.length - 1;
    return last < 0 ? name : `${name}: ${write(y[0])} at ${x[0]}, ${write(y[last])} at ${x[last]}`;
  });
  return `${chart.title}. ${lines.join(". ")}`;
}

function drawChart(chart, width, told) {
  const height = chart.height || 132;
  const lines = chart.series.map((line) => soften(line));
  const labelled = lines.length > 1;
  const xs = lines.flatMap(({ x }) => [x[0], x[x.length - 1]]).filter(Number.isFinite);
  const marks = chart.marks || [];
  const right = width - MARGIN.right - (labelled ? LABEL_WIDTH : 0);
  const across = scale(
    [Math.min(...xs, ...marks.map((m) => m.x)), Math.max(...xs, ...marks.map((m) => m.x))],
    [MARGIN.left, right],
  );
  const held = lines.flatMap((line) => [...line.y, ...(line.low || []), ...(line.high || [])]);
  const [low, high] = domain(
    [...held, ...marks.flatMap((m) => [m.estimate.low, m.estimate.high])],
    chart.whole,
  );
  const up = scale([low, high], [height - MARGIN.bottom, MARGIN.top]);
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  // What reaches beyond the axes, as single noisy iterations do, is cut there.
  const inside = s("svg", { x: 0, y: 0, width, height: height - MARGIN.bottom, class: "inside" });
  svg.append(axes(chart, across, up, { low, high, right, height }), inside);
  lines.forEach((line, i) => inside.append(...strokes(line, across, up, i)));
  besides(marks, across.back(MARGIN.left + (right - MARGIN.left) / 2)).forEach(([mark, shift]) =>
    svg.append(whisker(mark, across, up, shift)),
  );
  if (labelled) svg.append(...names(lines, up, right, height));
  svg.append(reader(svg, { chart, lines, across, up, right, height, told }));
  return svg;
}

// Long noisy lines get a running mean; the raw values stay behind it, faint.
function soften(line) {
  const width = line.low ? 1 : windowFor(line.y.length);
  if (width === 1) return { ...line, raw: null };
  const means = smooth(line.y, width);
  return {
    ...line,
    raw: line.y,
    y: means.map((m) => m.mean),
    low: means.map((m) => m.low),
    high: means.map((m) => m.high),
  };
}

function axes(chart, across, up, { low, high, right, height }) {
  const group = s("g", { class: "axes" });
  const digits = high - low < 0.05 ? 1 : 0;
  for (const value of ticks(low, high, Math.max(3, Math.round(height / 56)))) {
    const y = Math.round(up(value)) + 0.5;
    group.append(s("line", { x1: MARGIN.left, x2: right, y1: y, y2: y, class: "grid" }));
    const text = chart.rate ? percent(value, digits) : brief(value);
    group.append(s("text", { x: MARGIN.left - 6, y: y + 3.5, "text-anchor": "end" }, text));
  }
  const from = across.back(MARGIN.left);
  const to = across.back(right);
  for (const value of ticks(from, to, 4).filter(Number.isInteger)) {
    const x = across(value);
    const anchor = x > right - 8 ? "end" : "middle";
    group.append(s("text", { x, y: height - 6, "text-anchor": anchor }, String(value)));
  }
  return group;
}

function path(x, y, across, up) {
  let text = "";
  let pen = "M";
  y.forEach((value, i) => {
    if (!Number.isFinite(value)) pen = "M";
    else {
      text += `${pen}${across(x[i]).toFixed(1)} ${up(value).toFixed(1)}`;
      pen = "L";
    }
  });
  return text;
}

function strokes(line, across, up, i) {
  const made = [];
  const known = line.x
    .map((_, k) => k)
    .filter((k) => Number.isFinite(line.low?.[k]) && Number.isFinite(line.high?.[k]));
  if (known.length > 1) {
    const there = known.map(
      (k) => `${across(line.x[k]).toFixed(1)} ${up(line.high[k]).toFixed(1)}`,
    );
    const back = known
      .reverse()
      .map((k) => `${across(line.x[k]).toFixed(1)} ${up(line.low[k]).toFixed(1)}`);
    made.push(
      s("path", { d: `M${there.join("L")}L${back.join("L")}Z`, class: `band hue-${i % 5}` }),
    );
  }
  if (line.raw)
    made.push(s("path", { d: path(line.x, line.raw, across, up), class: `raw hue-${i % 5}` }));
  made.push(s("path", { d: path(line.x, line.y, across, up), class: `line hue-${i % 5}` }));
  if (line.y.length === 1)
    made.push(
      s("circle", { cx: across(line.x[0]), cy: up(line.y[0]), r: 2.5, class: `dot hue-${i % 5}` }),
    );
  return made;
}

// Marks of one iteration stand beside each other, away from the nearer end of the chart.
function besides(marks, middle) {
  return marks.map((mark) => {
    const together = marks.filter((other) => other.x === mark.x);
    const place = together.indexOf(mark);
    return [mark, 9 * (mark.x < middle ? place : place - together.length + 1)];
  });
}

function whisker(mark, across, up, shift) {
  const { mean, low, high } = mark.estimate;
  const x = across(mark.x) + shift;
  return s(
    "g",
    { class: `mark shape-${mark.shape || 0}` },
    s("line", { x1: x, x2: x, y1: up(low), y2: up(high) }),
    s("circle", { cx: x, cy: up(mean), r: 3.2 }),
    s(
      "title",
      {},
      `${mark.name}, iteration ${mark.x}: ${percent(mean)} % [${percent(low)}, ${percent(high)}]`,
    ),
  );
}

function names(lines, up, right, height) {
  const places = lines.map((line) => up(line.y.findLast(Number.isFinite) ?? 0) + 3.5);
  const moved = apart(places, 12, 10, height - MARGIN.bottom);
  return lines.map((line, i) =>
    s("text", { x: right + 6, y: moved[i], class: `name hue-${i % 5}` }, line.label || line.name),
  );
}

// Follows the pointer: a hairline at the nearest iteration, and its values beside the title.
function reader(svg, { chart, lines, across, up, right, height, told }) {
  const hair = s("line", {
    y1: MARGIN.top,
    y2: height - MARGIN.bottom,
    class: "hair",
    visibility: "hidden",
  });
  const dots = lines.map((_, i) =>
    s("circle", { r: 3, class: `dot hue-${i % 5}`, visibility: "hidden" }),
  );
  const write = form(chart);
  const rest = () => {
    const only =
      lines.length === 1 ? (lines[0].raw || lines[0].y).findLast(Number.isFinite) : undefined;
    told.textContent = chart.note || (only === undefined ? "" : write(only));
    for (const mark of [hair, ...dots]) mark.setAttribute("visibility", "hidden");
  };
  const follow = (event) => {
    const at = across.back(event.clientX - svg.getBoundingClientRect().left);
    const near = lines.map((line) => nearest(line.x, at));
    const x = lines[0]?.x[near[0]];
    if (x === undefined) return;
    hair.setAttribute("x1", across(x));
    hair.setAttribute("x2", across(x));
    hair.setAttribute("visibility", "visible");
    lines.forEach((line, i) => {
      const value = line.y[near[i]];
      if (!Number.isFinite(value)) return dots[i].setAttribute("visibility", "hidden");
      dots[i].setAttribute("cx", across(line.x[near[i]]));
      dots[i].setAttribute("cy", up(value));
      dots[i].setAttribute("visibility", "visible");
    });
    const values = lines.map((line, i) => write((line.raw || line.y)[near[i]]));
    told.textContent = `${x}: ${values.join(" · ")}`;
  };
  rest();
  const area = s("rect", {
    x: MARGIN.left,
    y: 0,
    width: Math.max(right - MARGIN.left, 1),
    height,
    class: "catch",
    onpointermove: follow,
    onpointerleave: rest,
  });
  return s("g", {}, hair, dots, area);
}

function nearest(x, at) {
  let best = 0;
  for (let i = 1; i < x.length; i += 1) if (Math.abs(x[i] - at) < Math.abs(x[best] - at)) best = i;
  return best;
}
