// Numbers and names as people read them. What is missing is a dash, never an error.

const DASH = "–";

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function number(value, digits = 2) {
  if (!isNumber(value)) return DASH;
  const size = Math.abs(value);
  if (size !== 0 && size < 10 ** -digits / 2)
    return minus(size < 1e-4 ? value.toExponential(1) : String(Number(value.toPrecision(2))));
  return minus(
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
  );
}

export function signed(value, digits = 2) {
  if (!isNumber(value)) return DASH;
  const text = minus(Math.abs(value).toFixed(digits));
  if (Number(text) === 0) return text;
  return (value > 0 ? "+" : "−") + text;
}

export function percent(value, digits = 1) {
  return isNumber(value) ? minus((100 * value).toFixed(digits)) : DASH;
}

export function count(value) {
  return isNumber(value) ? minus(Math.round(value).toLocaleString("en")) : DASH;
}

// At most three figures that say something: 1.2k, 0.034, 17.
export function brief(value) {
  if (!isNumber(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e6) return minus(`${(value / 1e6).toPrecision(3)}M`);
  if (size >= 1e4) return minus(`${(value / 1e3).toPrecision(3)}k`);
  if (size >= 1000) return count(value);
  if (size !== 0 && size < 0.001) return minus(value.toExponential(1));
  return minus(String(Number(value.toPrecision(3))));
}

export function duration(seconds) {
  if (!isNumber(seconds)) return DASH;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function money(value) {
  return isNumber(value) ? `$${value < 1 ? value.toFixed(3) : value.toFixed(2)}` : DASH;
}

export function chance(p) {
  if (!isNumber(p)) return DASH;
  return p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;
}

export function interval(estimate, form = percent) {
  return estimate ? `${form(estimate.low)} – ${form(estimate.high)}` : DASH;
}

// `entropy_by_turn` is "entropy by turn".
export const words = (name) => String(name ?? "").replaceAll("_", " ");

export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

// A run that is named by a path goes by the last of it; its folder and the rest tell it from others.
const pathOf = (run) =>
  String(run.name ?? run.id)
    .split("/")
    .filter(Boolean);
export const nameOf = (run) => pathOf(run).at(-1) || run.id;
export const whence = (run) =>
  [run.id === nameOf(run) ? "" : run.id, pathOf(run).slice(0, -1).slice(-3).join("/")]
    .filter(Boolean)
    .join(" · ");

// The middle of a long name says least.
export function shorten(text, length = 48) {
  const whole = String(text ?? "");
  if (whole.length <= length) return whole;
  const tail = Math.floor(length / 3);
  return `${whole.slice(0, length - tail - 1)}…${whole.slice(-tail)}`;
}

const minus = (text) => text.replaceAll("-", "−");
