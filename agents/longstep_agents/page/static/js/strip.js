// An episode as a strip: a cell a step, coloured by its credit, with its reward above the line.

import { h } from "./dom.js";
import { creditLook, mostOf } from "./colour.js";
import { isNumber, number, signed, words } from "./format.js";

export const creditsOf = (row) => (row?.steps || []).map((step) => step.credit);

const GATE = /^gates?[\s._:]+/;
export const isGate = (name) => GATE.test(name);
export const gateName = (name) => words(name.replace(GATE, ""));

function told(step, k, last) {
  const said = [`step ${k}`, step.action && `“${String(step.action).slice(0, 80)}”`];
  if (isNumber(step.credit)) said.push(`credit ${signed(step.credit)}`);
  if (step.reward) said.push(`reward ${signed(step.reward)}`);
  if (step.action_valid === false) said.push("not valid");
  if (step.fault) said.push(`fault: ${step.fault}`);
  for (const [name, open] of gatesOf(step))
    said.push(`gate ${gateName(name)} ${open ? "open" : "closed"}`);
  if (last) said.push("last");
  return said.filter(Boolean).join(", ");
}

export const gatesOf = (step) => Object.entries(step.parts || {}).filter(([name]) => isGate(name));

// The strip; `pick(step)` is called with the step that was chosen; `aside` stands by the legend.
export function creditStrip(row, current, pick, aside) {
  const steps = row.steps || [];
  const most = mostOf(creditsOf(row));
  const largest = mostOf(steps.map((step) => step.reward));
  const last = steps.length - 1;
  const cells = steps.map((step, k) =>
    cell(step, k, { most, largest, current, pick, last: k === last }),
  );
  return h(
    "nav",
    { class: "strip-box", "aria-label": "Steps, coloured by credit" },
    h("div", { class: steps.length > 60 ? "strip dense" : "strip" }, cells),
    h(
      "div",
      { class: "strip-legend" },
      ramp(steps, most),
      h("span", { class: "faint" }, signs(steps)),
      aside,
    ),
  );
}

function ramp(steps, most) {
  if (most > 0)
    return [
      h("span", {}, `−${number(most)}`),
      h("i", { class: "ramp" }),
      h("span", {}, `+${number(most)}`),
    ];
  return steps.some((step) => isNumber(step.credit))
    ? "The credit of every step is 0."
    : "No credit is kept for this episode.";
}

// Only what occurs is explained.
function signs(steps) {
  return [
    steps.some((step) => step.credit) && "credit of a step",
    steps.some((step) => step.reward) && "above: its reward",
    steps.some(isWrong) && "× not valid",
    steps.some((step) => gatesOf(step).length) && "● gate open, ○ closed",
  ]
    .filter(Boolean)
    .join(" · ");
}

const isWrong = (step) => step.action_valid === false || Boolean(step.fault);

function cell(step, k, { most, largest, current, pick, last }) {
  const look = creditLook(step.credit, most);
  const reward = step.reward || 0;
  const size = largest > 0 ? Math.abs(reward) / largest : 0;
  return h(
    "button",
    {
      type: "button",
      class: `cell ${look.class}`,
      "--part": look["--part"],
      "data-cell": k,
      title: told(step, k, last),
      "aria-label": told(step, k, last),
      "aria-current": k === current ? "step" : null,
      tabindex: k === (current ?? 0) ? 0 : -1,
      onclick: () => pick(k),
    },
    size > 0 &&
      h("span", { class: `tick ${reward < 0 ? "down" : "up"}`, "--part": size.toFixed(3) }),
    isWrong(step) && h("span", { class: "wrong" }, "×"),
    gatesOf(step).map(([, open]) => h("span", { class: `gate ${open ? "open" : "shut"}` })),
  );
}
