// What went wrong in a run and what was done about it. Zeros are worth showing: they are claims.

import { h, link, prose, tableOf } from "./dom.js";
import { sharesBar } from "./bars.js";
import { count, isNumber, nameOf, words } from "./format.js";
import { episodeLink } from "./route.js";

const MEANING = {
  ok: "pair-both",
  truncated: "missed",
  env_error: "broken",
  infra_error: "share-1",
  cancelled: "share-4",
};
const LINKED = 8;

export function reliabilityView({ run }) {
  const found = run.reliability || {};
  return h(
    "div",
    { class: "page" },
    h(
      "header",
      { class: "lead" },
      h("p", { class: "eyebrow" }, "Reliability"),
      h("h1", {}, nameOf(run)),
      h(
        "p",
        { class: "faint" },
        "Every episode that was asked for is told of exactly once; what went wrong is counted here.",
      ),
    ),
    h(
      "dl",
      { class: "counts" },
      figure("asked for", found.dispatched),
      figure("reported", found.reported),
      figure("lost", found.lost, true),
      figure("twice", found.duplicated, true),
      figure("played again", found.retried),
      figure("unreadable lines", run.unreadable, true),
    ),
    sharesBar("Outcomes", found.outcomes, MEANING),
    section("Errors", found.errors, errorTable(run)),
    section("Tasks that only faulted", found.given_up, (tasks) =>
      h(
        "ul",
        { class: "lines" },
        tasks.map((task) => h("li", {}, h("code", {}, task))),
      ),
    ),
    section("Suspected hacks", found.flagged, flagTable(run)),
  );
}

function figure(name, value, alarming = false) {
  const bad = alarming && value > 0;
  return h(
    "div",
    { class: bad ? "bad" : null },
    h("dd", {}, isNumber(value) ? count(value) : "–"),
    h("dt", {}, name),
  );
}

function section(title, list, fill) {
  const held = list || [];
  return h(
    "section",
    { "aria-label": title },
    h(
      "div",
      { class: "section-head" },
      h("h2", {}, title),
      h("span", { class: "faint" }, held.length ? count(held.length) : "none"),
    ),
    held.length ? fill(held) : null,
  );
}

const errorTable = (run) => (errors) => {
  const place = (n) => [link(episodeLink(run, n), String(n)), " "];
  const row = ({ count: times, text, episodes }) =>
    h(
      "tr",
      {},
      h("td", { class: "n" }, count(times)),
      h("th", { scope: "row" }, prose(text)),
      h("td", { class: "places" }, (episodes || []).slice(0, LINKED).map(place)),
    );
  return tableOf({ class: "plain lines" }, [["times", "n"], "error", "episodes"], errors.map(row));
};

const flagTable = (run) => (flags) => {
  const row = ({ episode, step, rule, text }) =>
    h(
      "tr",
      {},
      h("td", {}, link(episodeLink(run, episode, step), `${episode}, step ${step}`)),
      h("td", {}, words(rule)),
      h("th", { scope: "row" }, h("code", {}, prose(text))),
    );
  return tableOf({ class: "plain lines" }, ["where", "rule", "line"], flags.map(row));
};
