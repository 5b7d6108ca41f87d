// A view that is drawn anew keeps what the reader did: scroll, what is open, and the focus.

export function keepPlace(stage) {
  const top = window.scrollY;
  const open = [...stage.querySelectorAll("details[data-key]")]
    .filter((d) => d.open)
    .map((d) => d.dataset.key);
  const scrolled = [...stage.querySelectorAll("[data-scroll]")].map((e) => [
    e.dataset.scroll,
    e.scrollTop,
    e.scrollLeft,
  ]);
  const active = stage.contains(document.activeElement) ? document.activeElement : null;
  const focus = active?.dataset.key;
  const marked = active && "selectionStart" in active ? safeSelection(active) : null;
  return () => {
    for (const key of open)
      findIn(stage, "details[data-key]", "key", key)?.setAttribute("open", "");
    for (const [key, y, x] of scrolled) {
      const box = findIn(stage, "[data-scroll]", "scroll", key);
      if (box) [box.scrollTop, box.scrollLeft] = [y, x];
    }
    if (focus) {
      const next = findIn(stage, "[data-key]", "key", focus);
      next?.focus({ preventScroll: true });
      if (marked && next?.setSelectionRange) next.setSelectionRange(...marked);
    }
    window.scrollTo(0, top);
  };
}

function safeSelection(element) {
  try {
    return element.selectionStart === null ? null : [element.selectionStart, element.selectionEnd];
  } catch {
    return null; // Inputs of some types have no selection to ask for.
  }
}

// Keys hold names from outside: compared, never made part of a selector.
function findIn(stage, selector, field, key) {
  return [...stage.querySelectorAll(selector)].find((element) => element.dataset[field] === key);
}
