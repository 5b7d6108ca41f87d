// Credit as colour: blue for credit, orange for blame, paper for none; how strong follows the size.
// The style sheet mixes the colours, so that light and dark are one rule each.

import { h } from "./dom.js";
import { isNumber } from "./format.js";

export function creditLook(value, most) {
  if (!isNumber(value) || value === 0) return { class: "unknown" };
  const part = most > 0 ? Math.min(Math.abs(value) / most, 1) : 0;
  return { class: value < 0 ? "blame" : "credit", "--part": part.toFixed(3) };
}

// The largest size of what is coloured together, so that colours mean the same side by side.
export const mostOf = (values) =>
  values.reduce((most, v) => (isNumber(v) ? Math.max(most, Math.abs(v)) : most), 0);

// A filled circle for what was solved, an empty one for what was not: no colour is needed to tell.
export function outcomeMark(success, told = "") {
  const look = {
    class: success ? "solved-mark" : "missed-mark",
    title: success ? "solved" : "not solved",
  };
  return h("span", look, `${success ? "●" : "○"} ${told}`);
}
