// One run: what it is, how it went, where it stands, and its episodes.

import { fold, h, link } from "./dom.js";
import { count, duration, interval, number, percent, plural, words } from "./format.js";
import { estimateRows, sharesBar, turnsHistogram } from "./bars.js";
import { curvesSection } from "./curves.js";
import { episodeTable } from "./table.js";
import { address } from "./route.js";
import { headline } from "./leaderboard.js";

const STOPS = { success: "solved", turn_limit: "missed", env_error: "broken", infra_error: "broken", failed: "share-1" };

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
    h("section", { "aria-label": "Episodes" }, h("div", { class: "section-head" }, h("h2", {}, "Episodes")), episodeTable(run, query)),
  );
}

function runHead(run) {
  const kind = run.kind === "training" ? "Training run" : "Evaluation";
  return h("header", { class: "lead" },
    h("p", { class: "eyebrow" }, kind, run.ended === false && h("span", { class: "running" }, " running")),
    h("h1", {}, run.name),
    h("p", { class: "faint" }, [plural(run.episodes?.count || 0, "episode"), duration(run.seconds), run.unreadable ? `${plural(run.unreadable, "line")} unreadable` : null].filter(Boolean).join(" · "), " · ", link(address(["run", run.id, "reliability"]), "reliability")));
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
  ].filter(([, value]) => value !== undefined && value !== null && value !== "" && typeof value !== "object");
  const data = [...new Set((run.parts || []).flatMap((part) => part.data || []))];
  return h("section", { class: "facts", "aria-label": "Settings" },
    h("dl", {}, list.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))),
    data.length > 0 && fold("data", `Data (${data.length})`, () => h("ul", {}, data.map((text) => h("li", {}, text)))),
    fold("settings", "All settings", () => tree(about)));
}

export function tree(value, depth = 0) {
  if (value === null || typeof value !== "object") return h("code", {}, JSON.stringify(value) ?? "");
  const rows = Object.entries(value);
  if (!rows.length) return h("code", { class: "faint" }, Array.isArray(value) ? "[]" : "{}");
  return h("dl", { class: `tree depth-${Math.min(depth, 4)}` }, rows.map(([name, inner]) => h("div", {}, h("dt", {}, name), h("dd", {}, tree(inner, depth + 1)))));
}

// Success on each set, before and after: the table that a reader looks for first.
function results(run) {
  const parts = run.parts || [];
  if (!parts.length) return null;
  return h("section", { "aria-label": "Results" },
    h("div", { class: "section-head" }, h("h2", {}, "Results")),
    h("div", { class: "result-grid" }, parts.map((part) => {
      const found = headline(part);
      return h("article", { class: "result" },
        h("p", { class: "eyebrow" }, part.name, part.stage ? ` · after ${part.stage === "rl" ? "RL" : words(part.stage)}` : ""),
        h("p", { class: "big" }, percent(found?.mean), h("small", {}, " %")),
        h("p", { class: "faint" }, `${interval(found)} · ${plural(found?.episodes || 0, "episode")} · ${number(part.turns, 1)} turns${part.faults ? ` · ${plural(part.faults, "fault")}` : ""}`),
        Object.keys(part.by_task_type || {}).length > 1 && fold(`types:${part.stage}:${part.name}`, "By task type", () => estimateRows("Task type", part.by_task_type), { open: run.parts.length <= 3 }),
        Object.keys(part.by_turns || {}).length > 1 && fold(`turns:${part.stage}:${part.name}`, "By turns", () => estimateRows("Turns", part.by_turns)));
    })));
}

function shape(run) {
  const episodes = run.episodes || {};
  const counts = {};
  for (const reason of episodes.stop_reason || []) counts[reason] = (counts[reason] || 0) + 1;
  return h("section", { class: "two", "aria-label": "How episodes end" },
    sharesBar("Stopped by", counts, STOPS),
    turnsHistogram("Turns of an episode", episodes.turns || [], episodes.success || []));
}
