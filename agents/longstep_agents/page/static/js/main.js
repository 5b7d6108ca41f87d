// Which view is shown: read the address, draw, and draw again when there is news.

import { compareView } from "./compare.js";
import { fold, h, link, prose } from "./dom.js";
import { episodeView } from "./episode.js";
import { isServed, load } from "./data.js";
import { nameOf, shorten } from "./format.js";
import { keepPlace } from "./keep.js";
import { leaderboard } from "./leaderboard.js";
import { address, episodeLink, parse, runLink } from "./route.js";
import { listen } from "./keys.js";
import { reliabilityView } from "./reliability.js";
import { runView } from "./run.js";
import { taskView } from "./task.js";

const POLL_SECONDS = 3;
let index = null;
let keys = {};
let drawing = 0;
let drawn = "";

const findRun = (id) => index.runs.find((run) => run.id === id);

// What an address leads to: the view's name, how it is drawn, what with, and the way there.
function choose({ path, query }) {
  const home = [["#/", index.title || "longstep"]];
  if (!path.length)
    return { name: "leaderboard", draw: leaderboard, trail: home, context: { query } };
  const found = VIEWS[path[0]]?.(path, query, home);
  return found || { name: "missing", draw: missing, trail: home, context: { path } };
}

const VIEWS = { run: ofRun, compare: ofTwo };

function ofRun([, id, what, place, , step], query, home) {
  const run = findRun(id);
  if (!run) return null;
  const trail = [...home, [runLink(run), nameOf(run)]];
  if (what === "reliability")
    return {
      name: "reliability",
      draw: reliabilityView,
      trail: [...trail, [location.hash, "reliability"]],
      context: { run },
    };
  if (what !== "episode") return { name: "run", draw: runView, trail, context: { run, query } };
  const n = Number(place);
  return {
    name: "episode",
    draw: episodeView,
    trail: [...trail, [episodeLink(run, n), `episode ${n}`]],
    context: { run, n, step: step === undefined ? null : Number(step), query },
  };
}

function ofTwo([, a, b, what, part, task], query, home) {
  const [first, second] = [findRun(a), findRun(b)];
  if (!first || !second) return null;
  const trail = [
    ...home,
    [address(["compare", a, b]), `${nameOf(first)} against ${nameOf(second)}`],
  ];
  if (what !== "task")
    return { name: "compare", draw: compareView, trail, context: { first, second, query } };
  // A set may have no name: then its place in the address is empty, and was dropped.
  const place = task === undefined ? { part: "", task: part } : { part, task };
  return {
    name: "task",
    draw: taskView,
    trail: [...trail, [location.hash, place.task]],
    context: { first, second, ...place },
  };
}

function missing({ path }) {
  return h(
    "div",
    { class: "page" },
    h("h1", {}, "Nothing here"),
    h("p", {}, `There is no ${path.join(" / ")} in this page.`),
    link("#/", "All runs"),
  );
}

async function draw({ moved = false } = {}) {
  const mine = (drawing += 1);
  const asked = location.hash || "#/";
  const view = choose(parse(asked));
  const stage = document.getElementById("view");
  keys = {};
  let made;
  try {
    made = await view.draw({
      ...view.context,
      index,
      redraw: () => draw(),
      bind: (more) => {
        keys = { ...keys, ...more };
      },
    });
  } catch (error) {
    made = failed(error);
  }
  if (mine !== drawing) return;
  const restore = moved ? () => window.scrollTo(0, 0) : keepPlace(stage);
  drawn = signature(index);
  stage.replaceChildren(made);
  stage.dataset.view = view.name;
  crumbs(view.trail);
  restore();
  made.dispatchEvent(new CustomEvent("shown", { detail: { moved } }));
  document.body.dataset.ready = asked;
}

// A row may lack what a view expects: say so there, and keep the rest of the page alive.
function failed(error) {
  console.warn(error);
  return h(
    "div",
    { class: "page", "data-error": "1" },
    h("h1", {}, "This could not be shown"),
    prose(error?.message || String(error)),
    fold("stack", "Details", () => prose(error?.stack || "")),
  );
}

function crumbs(trail) {
  const nav = document.getElementById("crumbs");
  nav.replaceChildren(
    h(
      "ol",
      {},
      trail.map(([href, title], i) => {
        const last = i === trail.length - 1 && i > 0;
        return h(
          "li",
          {},
          last
            ? h("span", { "aria-current": "page" }, shorten(title, 40))
            : h("a", { href, class: i ? null : "brand" }, shorten(title, 40)),
        );
      }),
    ),
  );
  document.title = [...trail]
    .reverse()
    .map(([, title]) => title)
    .join(" · ");
}

// What changes when a run goes on.
const signature = (found) =>
  JSON.stringify([
    found.live,
    found.runs.map((run) => [
      run.id,
      run.ended,
      run.seconds,
      run.episodes?.count,
      run.parts?.length,
      run.marks?.length,
      run.curves?.[0]?.x.length,
    ]),
  ]);

async function watch() {
  const sign = document.getElementById("live");
  sign.hidden = !index.live;
  sign.textContent = index.live ? "live" : "";
  if (!index.live || !isServed()) return;
  await new Promise((wake) => setTimeout(wake, POLL_SECONDS * 1000));
  try {
    index = await load("index");
    sign.classList.remove("lost");
    if (signature(index) !== drawn && !busy()) await draw();
  } catch {
    sign.classList.add("lost");
    sign.textContent = "connection lost, trying again";
  }
  watch();
}

// An episode that has ended does not change, and an open list must not close under the reader.
const busy = () =>
  choose(parse(location.hash)).name === "episode" || document.activeElement?.matches("select");

async function start() {
  const stage = document.getElementById("view");
  try {
    index = await load("index");
  } catch (error) {
    stage.replaceChildren(failed(error));
    return;
  }
  listen(() => keys);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    stage.focus();
  });
  window.addEventListener("hashchange", () => draw({ moved: true }));
  await draw({ moved: true });
  watch();
}

start();
