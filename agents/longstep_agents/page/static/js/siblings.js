// The episodes of a group beside each other, joined where they stood in the same state: the same
// state, another action, another credit is what step-level credit is about.

import { h, link, s, sized, tableOf } from "./dom.js";
import { episodeRow } from "./data.js";
import { creditLook, mostOf } from "./colour.js";
import { isNumber, signed } from "./format.js";
import { seen } from "./steps.js";
import { creditsOf } from "./strip.js";
import { episodeLink } from "./route.js";

const LANE = 46;
const CELL = { tall: 20, least: 13, most: 44, gap: 3 };
const LEFT = 64;
const RIGHT = 92;
const MOST_SHOWN = 16;
const PLACES_SHOWN = 8;

export function siblingsOf(run, n) {
  const { group, count, superseded } = run.episodes;
  const found = [];
  for (let i = 0; i < count; i += 1)
    if (group[i] === group[n] && (i === n || !superseded?.[i])) found.push(i);
  const from = Math.max(0, Math.min(found.indexOf(n) - MOST_SHOWN / 2, found.length - MOST_SHOWN));
  return found.slice(from, from + MOST_SHOWN);
}

export async function siblingsPanel(run, n) {
  const members = siblingsOf(run, n);
  const rows = await Promise.all(members.map((i) => episodeRow(run, i)));
  const lanes = members
    .map((i, k) => ({ n: i, row: rows[k] }))
    .filter((lane) => lane.row?.steps?.length);
  if (lanes.length < 2)
    return h("p", { class: "faint" }, "This episode has no sibling that was kept.");
  const states = shared(lanes);
  const panel = h("div", { class: "state", "aria-live": "polite" });
  const show = (key) => {
    for (const mark of picture.querySelectorAll("[data-state]"))
      mark.classList.toggle("on", mark.dataset.state === key);
    panel.replaceChildren(stateTable(run, lanes, states.get(key)));
  };
  const first = telling(states);
  const picture = sized(
    (width) => {
      requestAnimationFrame(() => first && show(first));
      return drawLanes(run, n, lanes, states, width, show);
    },
    { class: "lanes-scroll", "data-scroll": "lanes" },
  );
  return h(
    "section",
    { class: "siblings", "aria-label": "Siblings of the group" },
    h(
      "div",
      { class: "section-head" },
      h("h2", {}, "Siblings"),
      h(
        "p",
        { class: "faint" },
        `${lanes.length} episodes of the same task. Lines join equal states: choose one to see what was done there, and what it was worth.`,
      ),
    ),
    picture,
    first ? panel : h("p", { class: "faint" }, "No state was reached by two of them."),
  );
}

// States that at least two siblings reached: key to places.
function shared(lanes) {
  const found = new Map();
  lanes.forEach(({ row }, lane) =>
    row.steps.forEach((step, k) => {
      if (!step.state_key) return;
      if (!found.has(step.state_key)) found.set(step.state_key, []);
      found.get(step.state_key).push({ lane, step: k, credit: step.credit, action: step.action });
    }),
  );
  for (const [key, places] of found)
    if (new Set(places.map((p) => p.lane)).size < 2) found.delete(key);
  return found;
}

// The state at which the actions' credits differ most; many siblings there count for more.
function telling(states) {
  let best = null;
  let widest = -1;
  for (const [key, places] of states) {
    const means = byAction(places)
      .map((group) => group.credit)
      .filter(isNumber);
    const spread =
      means.length > 1
        ? (Math.max(...means) - Math.min(...means)) *
          Math.sqrt(new Set(places.map((p) => p.lane)).size)
        : 0;
    if (spread > widest) [best, widest] = [key, spread];
  }
  return best;
}

function byAction(places) {
  const groups = new Map();
  for (const place of places)
    groups.set(place.action, [...(groups.get(place.action) || []), place]);
  return [...groups]
    .map(([action, held]) => {
      const known = held.map((p) => p.credit).filter(isNumber);
      return {
        action,
        held,
        credit: known.length ? known.reduce((a, b) => a + b, 0) / known.length : null,
      };
    })
    .sort((a, b) => (b.credit ?? 0) - (a.credit ?? 0));
}

function drawLanes(run, n, lanes, states, room, show) {
  const longest = lanes.reduce((most, { row }) => Math.max(most, row.steps.length), 1);
  const step = Math.min(
    Math.max((room - LEFT - RIGHT) / longest, CELL.least + CELL.gap),
    CELL.most + CELL.gap,
  );
  const place = { x: (k) => LEFT + k * step, y: (lane) => 8 + lane * LANE, wide: step - CELL.gap };
  const size = {
    width: LEFT + longest * step + RIGHT,
    height: 8 + (lanes.length - 1) * LANE + CELL.tall + 8,
  };
  const most = mostOf(lanes.flatMap(({ row }) => creditsOf(row)));
  return s(
    "svg",
    { ...size, viewBox: `0 0 ${size.width} ${size.height}`, class: "lanes" },
    [...states].map(([key, places]) => joins(key, places, place)),
    lanes.map((lane, i) =>
      laneView(run, lane, i, { own: lane.n === n, most, states, place, show }),
    ),
  );
}

// From each row to the next one that has the state, visit by visit.
function joins(key, places, { x, y, wide }) {
  const lanes = new Map();
  for (const p of places) lanes.set(p.lane, [...(lanes.get(p.lane) || []), p]);
  const order = [...lanes.keys()].sort((a, b) => a - b);
  return order.slice(1).flatMap((lane, i) => {
    const above = lanes.get(order[i]);
    return lanes
      .get(lane)
      .slice(0, above.length)
      .map((to, visit) => {
        const [x1, y1, x2, y2] = [
          x(above[visit].step) + wide / 2,
          y(order[i]) + CELL.tall,
          x(to.step) + wide / 2,
          y(lane),
        ];
        const bend = (y2 - y1) / 2;
        return s("path", {
          d: `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`,
          class: "join",
          "data-state": key,
        });
      });
  });
}

function laneView(run, lane, i, { own, most, states, place, show }) {
  const { row, n } = lane;
  const middle = place.y(i) + CELL.tall / 2 + 4;
  const end = place.x(row.steps.length) + 6;
  return s(
    "g",
    { class: own ? "lane own" : "lane" },
    s(
      "a",
      { href: episodeLink(run, n) },
      s("text", { x: LEFT - 12, y: middle, "text-anchor": "end", class: "lane-name" }, String(n)),
    ),
    row.steps.map((step, k) => {
      const look = creditLook(step.credit, most);
      const joined = states.has(step.state_key);
      const choose = () => show(step.state_key);
      const title = `${n}, step ${k}: ${step.action || ""}${isNumber(step.credit) ? `\ncredit ${signed(step.credit)}` : ""}`;
      return s(
        "rect",
        {
          x: place.x(k),
          y: place.y(i),
          width: place.wide,
          height: CELL.tall,
          rx: 2.5,
          class: `square ${look.class}${joined ? " joined" : ""}`,
          "--part": look["--part"],
          ...(joined
            ? {
                "data-state": step.state_key,
                tabindex: 0,
                role: "button",
                "aria-label": title,
                onclick: choose,
                onfocus: choose,
              }
            : {}),
        },
        s("title", {}, title),
      );
    }),
    s(
      "text",
      { x: end, y: middle, class: row.success ? "lane-end solved-mark" : "lane-end missed-mark" },
      row.success ? "● solved" : "○ not solved",
    ),
  );
}

// What was done in one state, and what it was worth.
function stateTable(run, lanes, places) {
  const groups = byAction(places);
  const most = mostOf(groups.map((group) => group.credit));
  const there = new Set(places.map((p) => p.lane)).size;
  const heads = ["then did", ["credit", "n"], ["times", "n"], ["solved", "n"], "in"];
  return h(
    "div",
    { class: "state-grid" },
    h(
      "div",
      {},
      h("p", { class: "eyebrow" }, `One state, reached by ${there} of ${lanes.length}`),
      seen(lanes[places[0].lane].row.steps[places[0].step].observation),
    ),
    tableOf(
      { class: "plain actions" },
      heads,
      groups.map((group) => actionRow(run, lanes, group, most)),
    ),
  );
}

function actionRow(run, lanes, { action, held, credit }, most) {
  const look = creditLook(credit, most);
  const solved = held.filter((p) => lanes[p.lane].row.success).length;
  const place = (p) => [
    link(episodeLink(run, lanes[p.lane].n, p.step), `${lanes[p.lane].n}.${p.step}`),
    " ",
  ];
  return h(
    "tr",
    {},
    h("th", { scope: "row", class: "action" }, action || "(nothing)"),
    h(
      "td",
      { class: "n" },
      h("span", { class: `pill ${look.class}`, "--part": look["--part"] }, signed(credit)),
    ),
    h("td", { class: "n" }, String(held.length)),
    h("td", { class: "n" }, `${solved} / ${held.length}`),
    h("td", { class: "places" }, held.slice(0, PLACES_SHOWN).map(place)),
  );
}
