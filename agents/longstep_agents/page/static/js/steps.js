// The steps of an episode: what was seen, said and done, and what came back.

import { fold, h, prose } from "./dom.js";
import { creditLook, mostOf } from "./colour.js";
import { count, isNumber, number, plural, signed, words } from "./format.js";
import { creditsOf, gateName, gatesOf, isGate } from "./strip.js";
import { tokenView } from "./tokens.js";
import { episodeLink } from "./route.js";

const THOUGHT = /<think>([\s\S]*?)(?:<\/think>|$)/;

// `shade` is how tokens are coloured, if they are shown; `told` is where their numbers go.
export function stepList(run, n, row, { shade, told }) {
  const steps = row.steps || [];
  const context = { run, n, row, shade, told, most: mostOf(creditsOf(row)) };
  return h(
    "div",
    { class: steps.length > 60 ? "steps long" : "steps" },
    steps.length > 0 &&
      h(
        "article",
        { class: "step opening" },
        h("div", { class: "gutter" }, h("span", { class: "faint" }, "task")),
        h("div", { class: "body" }, seen(steps[0].observation)),
      ),
    steps.map((step, k) => stepView(step, k, context)),
  );
}

function stepView(step, k, { run, n, row, shade, told, most }) {
  const look = creditLook(step.credit, most);
  const next = row.steps[k + 1];
  const back = next ? next.observation : row.final_observation;
  return h(
    "article",
    { class: "step", "data-step": k, id: `step-${k}`, "aria-label": `Step ${k}` },
    h(
      "div",
      { class: "gutter" },
      h(
        "a",
        { class: "step-number", href: episodeLink(run, n, k), title: "link to this step" },
        String(k),
      ),
      h("span", { class: `chip ${look.class}`, "--part": look["--part"] }),
    ),
    h(
      "div",
      { class: "body" },
      memory(row.steps, k),
      thought(step, k),
      said(step, { shade, told, most }),
      h(
        "p",
        { class: "did" },
        h("span", { class: "prompt", "aria-hidden": "true" }, "›"),
        prose(step.action || "(nothing)", { class: "action" }),
        marks(step),
      ),
      seen(back),
    ),
    numbers(step, look),
  );
}

// Listings, tables and terminals are read in columns; prose is not.
const LISTED_LINE = /^(\t| {2,}|[$+\-@#<>{}|]|\s*\d+[\s|:])/;

export function seen(text) {
  const lines = String(text ?? "").split("\n", 200);
  const listed = lines.filter((line) => LISTED_LINE.test(line)).length;
  return prose(text, {
    class: listed >= 3 && listed >= lines.length / 5 ? "seen listing" : "seen",
  });
}

function marks(step) {
  return [
    step.action_valid === false && h("span", { class: "tag warn" }, "not valid here"),
    step.target && h("span", { class: "tag" }, `to ${words(step.target)}`),
    step.fault && h("span", { class: "tag warn" }, words(step.fault)),
    step.unsayable
      ? h("span", { class: "tag" }, `${plural(step.unsayable, "action")} could not be said`)
      : null,
  ];
}

// All that the model had before it: whole since the last step that begins anew.
function memoryOf(steps, k) {
  let first = k;
  while (first > 0 && !steps[first].begins) first -= 1;
  const view = [];
  for (let i = first; i <= k; i += 1) {
    if (steps[i].shown) view.push({ by: "given", step: i, text: steps[i].shown });
    if (i < k) view.push({ by: "said", step: i, text: steps[i].text || steps[i].action || "" });
  }
  return view.some((part) => part.by === "given") ? view : [];
}

function memory(steps, k) {
  const step = steps[k];
  if (step.shown === undefined && !steps.some((s) => s.shown !== undefined)) return null;
  const view = memoryOf(steps, k);
  const length = view.reduce((total, part) => total + part.text.length, 0);
  const title = [
    step.begins ? "Shown to the model, anew" : "Shown to the model",
    h("span", { class: "faint" }, ` ${count(length)} characters`),
  ];
  return fold(`shown:${k}`, title, () =>
    h(
      "div",
      { class: "memory" },
      view.map((part) =>
        h(
          "div",
          { class: part.by },
          h("span", { class: "by" }, part.by === "given" ? "given" : `said, step ${part.step}`),
          prose(part.text),
        ),
      ),
    ),
  );
}

function thought(step, k) {
  const inside =
    step.reasoning ||
    String(step.text || "")
      .match(THOUGHT)?.[1]
      ?.trim();
  if (!inside) return null;
  return fold(
    `thought:${k}`,
    ["Reasoning", h("span", { class: "faint" }, ` ${count(inside.length)} characters`)],
    () => prose(inside, { class: "reasoning" }),
    { open: inside.length < 600 },
  );
}

function said(step, look) {
  if (look.shade && step.tokens?.text?.length)
    return tokenView(step.tokens, { ...look, credit: step.credit });
  const text = String(step.text || "")
    .replace(THOUGHT, "")
    .trim();
  if (!text || text === step.action) return null;
  return h("p", { class: "reply" }, h("span", { class: "by" }, "reply"), prose(text));
}

function numbers(step, look) {
  const rows = [
    [
      "credit",
      isNumber(step.credit)
        ? h("span", { class: `figure ${look.class}` }, signed(step.credit))
        : null,
    ],
    ["reward", isNumber(step.reward) ? signed(step.reward) : null],
    ...Object.entries(step.parts || {})
      .filter(([name]) => !isGate(name))
      .map(([name, value]) => [words(name), number(value)]),
    ...gatesOf(step).map(([name, open]) => [
      gateName(name),
      h("span", { class: open ? null : "fault" }, open ? "open" : "closed"),
    ]),
    ["log-prob.", isNumber(step.logprob) && step.logprob !== 0 ? number(step.logprob) : null],
  ].filter(([, value]) => value !== null);
  return h(
    "dl",
    { class: "margin" },
    rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}
