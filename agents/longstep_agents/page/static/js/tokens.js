// A reply token by token, shaded by how likely, how open or how much to credit each was.

import { h, visible } from "./dom.js";
import { creditLook, mostOf } from "./colour.js";
import { isNumber, number, signed } from "./format.js";

export const SHADES = [
  ["logprob", "log-probability"],
  ["entropy", "entropy"],
  ["credit", "credit"],
];
const FULL = { logprob: 4, entropy: 2.5 };

// `told` is where the numbers of the token pointed at are written.
export function tokenView(tokens, { shade, credit: stepCredit, most, told }) {
  const credits = tokens.credit || tokens.text.map(() => stepCredit);
  const scale = Math.max(most, mostOf(credits));
  const made = tokens.text.map((text, i) =>
    token(tokens, text, i, { shade, credit: credits[i], scale, told }),
  );
  const walk = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    made[made.indexOf(event.target) + step]?.focus();
  };
  return h(
    "div",
    { class: "token-line", role: "group", "aria-label": "Tokens of the reply", onkeydown: walk },
    made,
  );
}

function token(tokens, text, i, { shade, credit, scale, told }) {
  const trained = tokens.chosen?.[i] !== 0;
  const worth = trained ? credit : null;
  const shades = {
    logprob: () => amount(-tokens.logprob?.[i], FULL.logprob),
    entropy: () => amount(tokens.entropy?.[i], FULL.entropy),
    credit: () => creditLook(worth, scale),
  };
  const look = (shades[shade] || shades.logprob)();
  const say = numbersOf(tokens, text, i, worth).join(" · ");
  const tell = () => told.replaceChildren(visible(say));
  const classes = `token ${look.class}${trained ? "" : " untrained"}`;
  return h(
    "span",
    {
      class: classes,
      "--part": look["--part"],
      tabindex: i === 0 ? 0 : -1,
      "data-own-keys": true,
      "aria-label": say,
      onpointerenter: tell,
      onfocus: tell,
    },
    text.replaceAll("\n", "⏎\n"),
  );
}

function numbersOf({ logprob, entropy, chosen }, text, i, credit) {
  const p = logprob?.[i];
  return [
    `“${text}”`,
    isNumber(p) && `log-probability ${number(p)} (${number(100 * Math.exp(p), 1)} %)`,
    isNumber(entropy?.[i]) && `entropy ${number(entropy[i])}`,
    isNumber(credit) && `credit ${signed(credit)}`,
    chosen?.[i] === 0 && "not trained: there was no choice",
  ].filter(Boolean);
}

function amount(value, full) {
  if (!isNumber(value)) return { class: "unknown" };
  return { class: "amount", "--part": Math.min(Math.max(value / full, 0), 1).toFixed(3) };
}
