// Making elements. All text goes through text nodes: nothing that an agent or a world wrote is
// ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

// `h("a", { class: "x", href: "#/" , onclick: f }, "text", child, [children], null)`
export function h(tag, attributes, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(parent, child);
    else parent.append(child instanceof Node ? child : visible(String(child)));
  }
}

// Control characters, and those that turn the direction of writing, are shown and not obeyed.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

export function visible(text) {
  return text.replace(HIDDEN, (c) => {
    const code = c.charCodeAt(0);
    if (code === 0x1b) return "␛";
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "␡";
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

const CAP = 1500;

// A text of any length: what is long is cut, with a button that shows the rest.
export function prose(text, attributes = {}) {
  const whole = String(text ?? "");
  const box = h("div", { ...attributes, class: `prose ${attributes.class || ""}` });
  if (whole.length <= CAP * 1.2) {
    box.append(visible(whole));
    return box;
  }
  const more = h(
    "button",
    { class: "more", type: "button" },
    `show all ${whole.length.toLocaleString("en")} characters`,
  );
  more.addEventListener("click", () => box.replaceChildren(visible(whole)));
  box.append(visible(whole.slice(0, CAP)), " … ", more);
  return box;
}

// Something that opens; `key` lets it stay open when the view is drawn anew.
export function fold(key, title, fill, attributes = {}) {
  const box = h("details", { "data-key": key, ...attributes }, h("summary", {}, title));
  const open = () => {
    if (box.open && !box.dataset.filled) {
      box.dataset.filled = "1";
      box.append(fill());
    }
  };
  box.addEventListener("toggle", open);
  if (box.open) open();
  return box;
}

export function link(href, ...children) {
  return h("a", { href }, ...children);
}

// A choice of a few, drawn as one control.
export function choice(label, options, current, choose) {
  return h(
    "div",
    { class: "choice", role: "group", "aria-label": label },
    options.map(([value, title]) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(value === current),
          "data-key": `${label}:${value}`,
          onclick: () => choose(value),
        },
        title,
      ),
    ),
  );
}

// A table; a head is a text, or a text and a class.
export function tableOf(attributes, heads, rows) {
  const head = (text, look) => h("th", { scope: "col", class: look }, text);
  const top = h(
    "tr",
    {},
    heads.map((given) => head(...[given].flat())),
  );
  return h("table", attributes, h("thead", {}, top), h("tbody", {}, rows));
}

// A box whose content is drawn for its width, anew when that changes.
export function sized(draw, attributes) {
  const box = h("div", attributes);
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now === width || now < 48) return;
    width = now;
    box.replaceChildren(draw(now));
  }).observe(box);
  return box;
}
