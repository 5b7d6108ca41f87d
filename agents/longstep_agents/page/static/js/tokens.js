// A reply token by token, shaded by how likely, how open or how much to credit each was.

import { h, visible } from "./dom.js";
import { creditLook, mostOf } from "./colour.js";
import { isNumber, number, signed } from "./format.js";

export const SHADES = [["logprob", "log-probability"], ["entropy", "entropy"], ["credit", "credit"]];
const FULL = { logprob: 4, entropy: 2.5 };

// `told` is where the numbers of the token pointed at are written.
export function tokenView(tokens, { shade, credit: stepCredit, most, told }) {
  const credits = tokens.credit || tokens.text.map(() => stepCredit);
  const scale = Math.max(most, mostOf(credits));
  const made = tokens.text.map((text, i) => token(tokens, text, i, { shade, credit: credits[i], scale, told }));
  const walk = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    made[made.indexOf(event.target) + step]?.focus();
  };
  return h("div", { class: "token-line", role: "group", "aria-label": "Tokens of the reply", onkeydown: walk }, made);
}

function token(tokens, text, i, { shade, credit, scale, told }) {
  const logprob = tokens.logprob?.[i];
  const entropy = tokens.entropy?.[i];
  const trained = tokens.chosen?.[i] !== 0;
  const look = shade === "credit" ? creditLook(trained ? credit : null, scale) : amount(shade === "entropy" ? entropy : -logprob, FULL[shade]);
  const say = [
    `“${text}”`,
    isNumber(logprob) && `log-probability ${number(logprob)} (${number(100 * Math.exp(logprob), 1)} %)`,
    isNumber(entropy) && `entropy ${number(entropy)}`,
    trained && isNumber(credit) && `credit ${signed(credit)}`,
    !trained && "not trained: there was no choice",
  ].filter(Boolean).join(" · ");
  const tell = () => { told.replaceChildren(visible(say)); };
  return h(
    "span",
    { class: `token ${look.class}${trained ? "" : " untrained"}`, "--part": look["--part"], tabindex: i === 0 ? 0 : -1, "data-own-keys": true, "aria-label": say, onpointerenter: tell, onfocus: tell },
    text.replaceAll("\n", "⏎\n"),
  );
}

function amount(value, full) {
  if (!isNumber(value)) return { class: "unknown" };
  return { class: "amount", "--part": Math.min(Math.max(value / full, 0), 1).toFixed(3) };
}
