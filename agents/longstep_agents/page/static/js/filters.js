// Which episodes are shown, and in what order: by what they hold and what the reader chose.

import { h } from "./dom.js";
import { isNumber, shorten, words } from "./format.js";

// What can be asked for by a choice: the column's values, as they occur.
export const CHOICES = [
  ["phase", "phase"],
  ["part", "part"],
  ["task_type", "type"],
  ["success", "solved"],
  ["stop_reason", "stopped by"],
  ["outcome", "outcome"],
];

export function filterBar(episodes, state, update, told) {
  const field = (name, attributes) =>
    h("input", {
      ...attributes,
      value: state[name],
      "data-filter": name,
      "data-key": `filter:${name}`,
      oninput: (event) => update({ [name]: event.target.value }),
    });
  const iterations = episodes.iteration?.some(Boolean);
  return h(
    "form",
    {
      class: "filters",
      role: "search",
      "aria-label": "Filter the episodes",
      onsubmit: (event) => event.preventDefault(),
    },
    field("text", {
      id: "search",
      type: "search",
      placeholder: "Find a task …",
      "aria-label": "task or number contains",
      autocomplete: "off",
    }),
    CHOICES.map(([name, title]) => chooser(episodes, name, title, state, update)),
    iterations &&
      h(
        "span",
        { class: "range" },
        "iteration",
        field("from", { type: "number", min: 0, "aria-label": "first iteration" }),
        "–",
        field("to", { type: "number", min: 0, "aria-label": "last iteration" }),
      ),
    told,
  );
}

function chooser(episodes, name, title, state, update) {
  const values = [...new Set(episodes[name] || [])]
    .filter((value) => value !== "")
    .map(String)
    .sort();
  if (values.length < 2) return null;
  const say = (value) =>
    name === "success" ? (value === "1" ? "yes" : "no") : shorten(words(value), 32);
  return h(
    "label",
    { class: state[name] ? "chosen" : null },
    h("span", { class: "unseen" }, title),
    h(
      "select",
      {
        "data-filter": name,
        "data-key": `filter:${name}`,
        onchange: (event) => {
          event.target.parentElement.classList.toggle("chosen", event.target.value !== "");
          update({ [name]: event.target.value });
        },
      },
      h("option", { value: "" }, `${title}: any`),
      values.map((value) =>
        h(
          "option",
          { value, selected: state[name] === value },
          name === "success" ? `solved: ${say(value)}` : say(value),
        ),
      ),
    ),
  );
}

export function matching(episodes, state) {
  const text = state.text.trim().toLowerCase();
  const [from, to] = [
    state.from === "" ? -Infinity : Number(state.from),
    state.to === "" ? Infinity : Number(state.to),
  ];
  const asked = CHOICES.map(([name]) => name).filter((name) => state[name] !== "");
  const found = [];
  for (let i = 0; i < episodes.count; i += 1) {
    if (asked.some((name) => String(episodes[name]?.[i]) !== state[name])) continue;
    if (episodes.iteration[i] < from || episodes.iteration[i] > to) continue;
    if (
      text &&
      !`${i} ${episodes.task_id[i]} ${episodes.task_type[i]} ${episodes.part[i]}`
        .toLowerCase()
        .includes(text)
    )
      continue;
    found.push(i);
  }
  return found;
}

export function sorted(found, episodes, state) {
  if (!state.by) return found;
  const sign = state.order === "down" ? -1 : 1;
  const column = state.by === "n" ? null : episodes[state.by];
  const value = (i) => (column ? (column[i] ?? -Infinity) : i);
  const before = (a, b) =>
    isNumber(a) && isNumber(b) ? a - b : String(a).localeCompare(String(b));
  return found.sort((a, b) => sign * before(value(a), value(b)) || a - b);
}
