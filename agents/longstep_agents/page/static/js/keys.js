// One listener for all keys; a view says which it answers, and `?` lists them.

import { h } from "./dom.js";

const ALL = [
  ["← →  or  j k", "the step before, the next"],
  ["[  ]", "the episode before, the next"],
  ["t", "tokens"],
  ["s", "siblings of the group"],
  ["r", "raw JSON"],
  ["/", "search the episodes"],
  ["u", "up: to the run, to all runs"],
  ["?", "these keys"],
];

export function listen(current) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || writing(event.target)) return;
    const name = { ArrowRight: "j", ArrowLeft: "k" }[event.key] || event.key;
    const action = { "?": help, u: up, ...current() }[name];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
  document.getElementById("help-button").addEventListener("click", help);
}

function writing(target) {
  return (
    target.matches?.("input:not([type=checkbox]), select, textarea, [data-own-keys]") ||
    document.getElementById("help").open
  );
}

function up() {
  const links = [...document.querySelectorAll("#crumbs a")];
  links.at(-1)?.click();
}

function help() {
  const box = document.getElementById("help");
  const close = h(
    "button",
    { type: "button", class: "quiet", onclick: () => box.close() },
    "Close",
  );
  box.replaceChildren(
    h("h2", { id: "help-title" }, "Keys"),
    h(
      "dl",
      {},
      ALL.map(([name, what]) => [h("dt", {}, h("kbd", {}, name)), h("dd", {}, what)]),
    ),
    close,
  );
  box.showModal();
}
