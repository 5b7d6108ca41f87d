// One episode: the strip of credit, the steps, the siblings.

import { outcomeMark } from "./colour.js";
import { choice, h, prose } from "./dom.js";
import { episodeRow } from "./data.js";
import { count, duration, isNumber, number, signed, words } from "./format.js";
import { address, episodeLink, parse, remember } from "./route.js";
import { siblingsOf, siblingsPanel } from "./siblings.js";
import { stepList } from "./steps.js";
import { creditStrip } from "./strip.js";
import { SHADES } from "./tokens.js";

const STRONGER = { logprob: "Stronger: less likely. ", entropy: "Stronger: more choice. " };

export async function episodeView({ run, n, step, query, redraw, bind }) {
  const all = run.episodes?.count || 0;
  const row = n < all && (await episodeRow(run, n));
  if (!row)
    throw new Error(`run ${run.name} has no episode ${n}; it has ${count(all)}, counted from 0`);
  const withTokens = (row.steps || []).some((s) => s.tokens?.text?.length);
  const shade = withTokens ? query.get("tokens") : null;
  const hint = `${STRONGER[shade] || ""}Point at a token, or walk with ← →.`;
  const told = shade ? h("output", { class: "token-told" }, hint) : null;
  const group = siblingsOf(run, n);
  const change = (changes) => {
    remember(changes);
    redraw();
  };
  const state = { step };
  const page = h("div", { class: "page episode" });
  const pick = (k, scroll = true) => go({ page, run, n, row, state }, k, scroll);
  const strip = h("div", { class: "sticky" }, creditStrip(row, step, pick, told));
  page.append(
    episodeHead(run, n, row),
    toolbar({ run, n, query, withTokens, group, change }),
    query.get("siblings") && group.length > 1 ? await siblingsPanel(run, n) : "",
    strip,
    query.get("raw")
      ? h("pre", { class: "raw" }, prose(JSON.stringify(row, null, 1)))
      : stepList(run, n, row, { shade, told }),
    ending(row),
  );
  bind(keysOf({ run, n, state, pick, query, change, withTokens, group }));
  page.addEventListener("shown", ({ detail }) => {
    if (step === null) return;
    pick(step, false);
    // What draws itself for its width, as siblings do, takes its place in the next frame.
    if (detail.moved) afterFrames(2, () => showStep(page, "auto"));
  });
  return page;
}

function episodeHead(run, n, row) {
  const { count: all } = run.episodes;
  const to = (k, sign, title) =>
    k >= 0 && k < all
      ? h(
          "a",
          { href: keepQuery(episodeLink(run, k)), "aria-label": title, title, class: "pager" },
          sign,
        )
      : h("span", { class: "pager off" }, sign);
  const facts = factsOf(run, n, row).filter(([, value]) => value);
  return h(
    "header",
    { class: "lead" },
    h(
      "div",
      { class: "pagers" },
      to(n - 1, "←", "The episode before"),
      to(n + 1, "→", "The next episode"),
    ),
    h(
      "p",
      { class: "eyebrow" },
      [`Episode ${n}`, words(row.task_type)].filter(Boolean).join(" · "),
    ),
    h("h1", { class: "task-name" }, outcomeMark(row.success), row.task_id),
    h(
      "dl",
      { class: "facts-line" },
      facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
    row.error && h("p", { class: "error" }, prose(row.error)),
  );
}

function factsOf(run, n, row) {
  const { part, iteration, attempt } = run.episodes;
  const steps = row.steps || [];
  return [
    ["outcome", words(row.outcome)],
    ["stopped by", words(row.stop_reason)],
    ["score", isNumber(row.score) && number(row.score)],
    ["reward", signed(steps.reduce((sum, step) => sum + (step.reward || 0), 0))],
    ["turns", count(steps.length)],
    ["set", part?.[n]],
    ["iteration", iteration?.[n] && count(iteration[n])],
    ["attempt", attempt?.[n] && count(attempt[n])],
    ["time", isNumber(row.seconds) && duration(row.seconds)],
    ["seed", isNumber(row.seed) && String(row.seed)],
    ["environment", row.env_id],
  ];
}

// The next episode is shown as this one is: with siblings, with tokens.
function keepQuery(href) {
  const { path } = parse(href);
  return address(path, Object.fromEntries(parse(location.hash).query));
}

function toolbar({ run, n, query, withTokens, group, change }) {
  const flip = (name, title, key) =>
    h(
      "button",
      {
        type: "button",
        class: "toggle",
        "aria-pressed": String(Boolean(query.get(name))),
        "data-key": `flip:${name}`,
        onclick: () => change({ [name]: query.get(name) ? "" : "1" }),
      },
      title,
      " ",
      h("kbd", {}, key),
    );
  const shade = query.get("tokens") || "";
  return h(
    "div",
    { class: "toolbar" },
    group.length > 1 && flip("siblings", `Siblings (${group.length})`, "s"),
    withTokens &&
      choice("Tokens", [["", "Text"], ...SHADES], shade, (value) => change({ tokens: value })),
    flip("raw", "JSON", "r"),
    replay(run, n),
  );
}

function replay(run, n) {
  const command = `longstep replay ${run.id} --episode ${n} --verify`;
  const button = h(
    "button",
    { type: "button", class: "quiet", onclick: () => copy(command, button) },
    "Copy",
  );
  return h("span", { class: "command" }, h("code", {}, command), button);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it by hand"; // Pages from files may be refused the clipboard.
  }
  setTimeout(() => {
    button.textContent = "Copy";
  }, 1500);
}

function ending(row) {
  return h(
    "p",
    { class: "ending faint" },
    `${row.success ? "Solved" : "Not solved"}; stopped by ${words(row.stop_reason)}.`,
  );
}

// Make a step the current one: in the strip, in the list, in the address.
function go({ page, run, n, row, state }, k, scroll) {
  const last = (row.steps || []).length - 1;
  if (last < 0) return;
  state.step = Math.min(Math.max(k, 0), last);
  history.replaceState(null, "", keepQuery(episodeLink(run, n, state.step)));
  for (const cell of page.querySelectorAll("[data-cell]"))
    point(cell, Number(cell.dataset.cell) === state.step);
  for (const article of page.querySelectorAll("[data-step]")) {
    article.classList.toggle("here", Number(article.dataset.step) === state.step);
  }
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (scroll) showStep(page, calm ? "auto" : "smooth");
}

const showStep = (page, behavior) =>
  page.querySelector(".step.here")?.scrollIntoView({ block: "start", behavior });

const afterFrames = (n, act) =>
  requestAnimationFrame(() => (n > 1 ? afterFrames(n - 1, act) : act()));

function point(cell, here) {
  if (here) cell.setAttribute("aria-current", "step");
  else cell.removeAttribute("aria-current");
  cell.tabIndex = here ? 0 : -1;
  if (here && cell.parentElement.contains(document.activeElement))
    cell.focus({ preventScroll: true });
}

function keysOf({ run, n, state, pick, query, change, withTokens, group }) {
  const episode = (k) => {
    if (k >= 0 && k < run.episodes.count) location.hash = keepQuery(episodeLink(run, k));
  };
  const flip = (name) => () => change({ [name]: query.get(name) ? "" : "1" });
  return {
    j: () => pick(state.step === null ? 0 : state.step + 1),
    k: () => pick((state.step ?? 1) - 1),
    "[": () => episode(n - 1),
    "]": () => episode(n + 1),
    ...(withTokens ? { t: () => change({ tokens: query.get("tokens") ? "" : "logprob" }) } : {}),
    ...(group.length > 1 ? { s: flip("siblings") } : {}),
    r: flip("raw"),
  };
}
