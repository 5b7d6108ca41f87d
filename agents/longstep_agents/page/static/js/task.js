// One task as two runs played it: the common beginning folded, the first divergence marked, then
// side by side wherever both stood in the same state.

import { alignSteps, commonStart, sameState } from "./align.js";
import { fold, h, link } from "./dom.js";
import { creditLook, mostOf, outcomeMark } from "./colour.js";
import { pairTasks } from "./pairing.js";
import { episodeRow } from "./data.js";
import { isNumber, nameOf, plural, signed, words } from "./format.js";
import { episodeLink } from "./route.js";
import { seen } from "./steps.js";
import { creditsOf } from "./strip.js";

export async function taskView({ first, second, part, task }) {
  const pair = (pairTasks(first, second).get(part) || []).find((t) => t.task === task);
  if (!pair)
    throw new Error(
      `the two runs have no task ${task} of ${part || "the set without a name"} in common`,
    );
  const sides = [
    { run: first, n: pair.first },
    { run: second, n: pair.second },
  ];
  const rows = await Promise.all(sides.map(({ run, n }) => episodeRow(run, n)));
  sides.forEach((side, k) => {
    side.row = rows[k] || { steps: [] };
    side.steps = side.row.steps || [];
  });
  const [a, b] = sides.map((side) => side.steps);
  const common = commonStart(a, b);
  const most = mostOf(sides.flatMap(({ row }) => creditsOf(row)));
  return h(
    "div",
    { class: "page wide" },
    h(
      "header",
      { class: "lead" },
      h("p", { class: "eyebrow" }, part),
      h("h1", { class: "task-name" }, task),
      h(
        "p",
        { class: "faint" },
        "An equals sign stands between steps that were taken in the same state.",
      ),
    ),
    h(
      "div",
      { class: "duel" },
      h("div", { class: "duel-row duel-head" }, sides.map(sideHead)),
      (a[0] || b[0]) && h("div", { class: "duel-start" }, seen((a[0] || b[0]).observation)),
      common > 0 &&
        fold("common", `${plural(common, "step")} in common`, () => together(sides, common, most)),
      parting(a, b, common),
      alignSteps(a, b, common).map((row) => pairRow(sides, row, most)),
      h("div", { class: "duel-row duel-end" }, sides.map(sideEnd)),
    ),
  );
}

const together = (sides, common, most) =>
  h(
    "div",
    {},
    Array.from({ length: common }, (_, k) =>
      pairRow(sides, { left: k, right: k, met: true }, most),
    ),
  );

const sideEnd = ({ row }) =>
  h(
    "div",
    { class: "side" },
    h("p", {}, outcomeMark(row.success, row.success ? "solved" : "not solved")),
    h("p", { class: "faint" }, `stopped by ${words(row.stop_reason)}`),
  );

function sideHead({ run, n, row, steps }) {
  return h(
    "div",
    { class: "side" },
    h("p", {}, outcomeMark(row.success), link(episodeLink(run, n), nameOf(run))),
    h("p", { class: "faint" }, `episode ${n} · ${plural(steps.length, "turn")}`),
  );
}

function parting(a, b, common) {
  const both = common < a.length && common < b.length;
  if (!both && a.length === b.length)
    return h("p", { class: "parting", "data-divergence": "none" }, "They are the same to the end.");
  const why = !both
    ? "one goes on, the other has ended"
    : sameState(a[common], b[common])
      ? "the same state, another action"
      : "the same actions led to different states";
  return h(
    "p",
    { class: "parting", "data-divergence": common },
    h("b", {}, `First divergence, step ${common}`),
    ` ${why}`,
  );
}

function pairRow(sides, { left, right, met }, most) {
  return h(
    "div",
    { class: `duel-row${met ? " met" : ""}` },
    [left, right].map((k, i) =>
      k === null ? h("div", { class: "side absent" }) : sideStep(sides[i], k, most),
    ),
  );
}

function sideStep({ run, n, row, steps }, k, most) {
  const step = steps[k];
  const look = creditLook(step.credit, most);
  return h(
    "div",
    { class: "side" },
    h(
      "p",
      { class: "did" },
      h("a", { class: "step-number", href: episodeLink(run, n, k) }, String(k)),
      h("span", { class: "action" }, step.action || "(nothing)"),
      isNumber(step.credit) &&
        h("span", { class: `pill ${look.class}`, "--part": look["--part"] }, signed(step.credit)),
      step.action_valid === false && h("span", { class: "tag warn" }, "not valid here"),
    ),
    seen(steps[k + 1]?.observation ?? row.final_observation),
  );
}
