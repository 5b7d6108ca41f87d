// What is shown stands in the address: `#/run/ID/episode/3?filter=…` can be sent to somebody.

export function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return {
    path: path.split("/").filter(Boolean).map(decode),
    query: new URLSearchParams(query || ""),
  };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // A hand-written address with a stray percent sign.
  }
}

export function address(path, query) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query || {})) {
    if (value !== "" && value !== null && value !== undefined) asked.set(name, value);
  }
  const tail = asked.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${tail ? `?${tail}` : ""}`;
}

export const runLink = (run) => address(["run", run.id]);

export function episodeLink(run, n, step) {
  const path = ["run", run.id, "episode", String(n)];
  return address(step === undefined ? path : [...path, "step", String(step)]);
}

// Keep a choice in the address without a new entry in the history, nor a new drawing.
export function remember(changes) {
  const { path, query } = parse(location.hash);
  const wanted = { ...Object.fromEntries(query), ...changes };
  history.replaceState(null, "", address(path, wanted));
}
