// One run: what it is, how it went, where it stands, and its episodes.

import { fold, h, link } from "./dom.js";
import { duration, interval, isNumber, nameOf, number, percent, plural, whence } from "./format.js";
import { estimateRows, sharesBar, turnsHistogram } from "./bars.js";
import { curvesSection } from "./curves.js";
import { episodeTable } from "./table.js";
import { address } from "./route.js";
import { headline, lastStages } from "./results.js";

const STOPS = {
  success: "solved",
  turn_limit: "missed",
  env_error: "broken",
  infra_error: "broken",
  failure: "share-5",
};

export function runView({ run, query, redraw, bind }) {
  bind({ "/": () => document.getElementById("search")?.focus() });
  return h(
    "div",
    { class: "page wide" },
    runHead(run),
    facts(run),
    curvesSection(run, query, redraw),
    results(run),
    shape(run),
    h(
      "section",
      { "aria-label": "Episodes" },
      h("div", { class: "section-head" }, h("h2", {}, "Episodes")),
      episodeTable(run, query),
    ),
  );
}

function runHead(run) {
  const kind = run.kind === "training" ? "Training run" : "Evaluation";
  return h(
    "header",
    { class: "lead" },
    h(
      "p",
      { class: "eyebrow" },
      kind,
      run.ended === false && h("span", { class: "running" }, " running"),
    ),
    h("h1", {}, nameOf(run)),
    h(
      "p",
      { class: "faint" },
      [
        plural(run.episodes?.count || 0, "episode"),
        duration(run.seconds),
        run.unreadable ? `${plural(run.unreadable, "line")} unreadable` : null,
        whence(run),
      ]
        .filter(Boolean)
        .join(" · "),
      " · ",
      link(address(["run", run.id, "reliability"]), "reliability"),
    ),
  );
}

// The handful of settings one asks for first, and all of them folded.
function facts(run) {
  const about = run.about || {};
  const config = about.config || {};
  const asked = about.asked || {};
  const list = [
    ["agent", asked.contestant?.agent || asked.contestant?.name],
    ["model", asked.contestant?.model],
    ["environment", config.train?.env_id],
    ["credit", config.rl?.credit?.name],
    ["loss", config.rl?.loss?.name],
    ["entropy", config.rl?.entropy?.name],
    ["turns", config.train?.turns],
    ["seed", config.seed ?? asked.settings?.seed],
    ["attempts", asked.settings?.attempts],
    ["source", about.made_with?.source],
    ["began", about.made_with?.began],
  ].filter(
    ([, value]) =>
      value !== undefined && value !== null && value !== "" && typeof value !== "object",
  );
  const data = [...new Set((run.parts || []).flatMap((part) => part.data || []))];
  return h(
    "section",
    { class: "facts", "aria-label": "Settings" },
    h(
      "dl",
      {},
      list.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))),
    ),
    data.length > 0 &&
      fold("data", `Data (${data.length})`, () =>
        h(
          "ul",
          {},
          data.map((text) => h("li", {}, text)),
        ),
      ),
    fold("settings", "All settings", () => tree(about)),
  );
}

function tree(value, depth = 0) {
  if (value === null || typeof value !== "object")
    return h("code", {}, JSON.stringify(value) ?? "");
  const rows = Object.entries(value);
  if (!rows.length) return h("code", { class: "faint" }, Array.isArray(value) ? "[]" : "{}");
  return h(
    "dl",
    { class: `tree depth-${Math.min(depth, 4)}` },
    rows.map(([name, inner]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, tree(inner, depth + 1))),
    ),
  );
}

// The rate on each set at the end, held against what it was at the stage before.
function results(run) {
  const parts = [...lastStages(run).values()];
  if (!parts.length) return null;
  const before = (part) =>
    run.parts.findLast(
      (other) => other.name === part.name && other !== part && other.stage !== part.stage,
    );
  return h(
    "section",
    { "aria-label": "Results" },
    h(
      "div",
      { class: "section-head" },
      h("h2", {}, "Results"),
      parts.some(before) && h("p", { class: "faint" }, "Thin ticks: before RL."),
    ),
    h(
      "div",
      { class: "result-grid" },
      parts.map((part) => result(run, part, before(part), parts.length <= 3)),
    ),
  );
}

function result(run, part, before, open) {
  const found = headline(part);
  const was = before && headline(before);
  const types = Object.keys(part.by_task_type || {}).length;
  const facts = [
    interval(found),
    plural(found?.episodes || 0, "episode"),
    isNumber(part.turns) && `${number(part.turns, 1)} turns`,
    part.metric === "score" && `${percent(part.success?.mean)} % success`,
    part.faults ? plural(part.faults, "fault") : null,
    part.faults && part.without_faults
      ? `${percent(part.without_faults.mean)} % success without`
      : null,
    ...passRates(part),
  ];
  return h(
    "article",
    { class: "result", "data-part": part.name },
    h("h3", {}, part.name, part.metric === "score" && h("span", { class: "faint" }, " score")),
    h(
      "p",
      { class: "big" },
      percent(found?.mean),
      h("small", {}, " %"),
      was && h("small", { class: "was" }, `from ${percent(was.mean)}`),
    ),
    h("p", { class: "faint" }, facts.filter(Boolean).join(" · ")),
    types > 1 &&
      fold(
        `types:${part.name}`,
        "By task type",
        () => estimateRows("Task type", part.by_task_type, before?.by_task_type),
        { open },
      ),
    Object.keys(part.by_turns || {}).length > 1 &&
      fold(`turns:${part.name}`, "By turns taken", () => estimateRows("Turns", part.by_turns)),
  );
}

const passRates = (part) =>
  [
    ["pass@", part.pass_at],
    ["pass^", part.pass_hat],
  ].flatMap(([sign, rates]) =>
    Object.entries(rates || {}).map(([k, rate]) => `${sign}${k} ${percent(rate.mean)} %`),
  );

function shape(run) {
  const episodes = run.episodes || {};
  const counts = {};
  for (const reason of episodes.stop_reason || []) counts[reason] = (counts[reason] || 0) + 1;
  return h(
    "section",
    { class: "two", "aria-label": "How episodes end" },
    sharesBar("Stopped by", counts, STOPS),
    turnsHistogram("Turns of an episode", episodes.turns || [], episodes.success || []),
  );
}
