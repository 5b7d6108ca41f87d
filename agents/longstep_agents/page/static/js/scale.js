// From values to places: linear scales, ticks at round numbers, running means.

export function scale([from, to], [start, end]) {
  const span = to - from || 1;
  const place = (value) => start + ((value - from) / span) * (end - start);
  place.back = (at) => from + ((at - start) / (end - start || 1)) * span;
  return place;
}

// Round numbers in an interval, about as many as wanted.
export function ticks(from, to, wanted = 3) {
  const span = to - from;
  if (!(span > 0)) return [from];
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + step * 1e-9; k += 1) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

// An interval that holds all values; `whole` keeps 0 to 1, so that charts can be compared.
export function domain(values, whole) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return [0, 1];
  const low = known.reduce((a, b) => Math.min(a, b));
  const high = known.reduce((a, b) => Math.max(a, b));
  if (whole) return [0, 1];
  const base = low >= 0 && low < high * 0.6 ? 0 : low;
  const room = (high - base) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [base === 0 ? 0 : base - room, high + room];
}

const Z95 = 1.96;

// Means over a window about each point, with the 95 % interval that the scatter inside gives.
export function smooth(y, width) {
  const half = Math.floor(width / 2);
  return y.map((_, i) => {
    const near = y.slice(Math.max(0, i - half), i + half + 1).filter(Number.isFinite);
    if (!near.length) return { mean: null, low: null, high: null };
    const mean = near.reduce((a, b) => a + b, 0) / near.length;
    const spread = near.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(near.length - 1, 1);
    const error = (Z95 * Math.sqrt(spread)) / Math.sqrt(near.length);
    return { mean, low: mean - error, high: mean + error };
  });
}

// How many points a running mean takes: none while there are few.
export const windowFor = (n) => (n < 24 ? 1 : Math.min(2 * Math.round(n / 40) + 3, 25));

// Labels on one side, moved apart so that none covers another.
export function apart(places, gap, low, high) {
  const order = places.map((at, i) => [at, i]).sort((a, b) => a[0] - b[0]);
  let floor = low;
  for (const entry of order) {
    entry[0] = Math.max(entry[0], floor);
    floor = entry[0] + gap;
  }
  let ceiling = high;
  for (const entry of order.reverse()) {
    entry[0] = Math.min(entry[0], ceiling);
    ceiling = entry[0] - gap;
  }
  const moved = [];
  for (const [at, i] of order) moved[i] = at;
  return moved;
}
