// Where the numbers come from: blocks inside this file, or files beside it.

const KEPT_SHARDS = 6;
const shards = new Map();

// Which way is decided by the page itself: one with an index inside never asks the network.
export async function load(name) {
  if (name !== "index" && !isServed()) await parsed();
  const block = document.getElementById(`data-${name}`);
  if (block) return unpack(block.textContent);
  const answer = await fetch(`data/${encodeURIComponent(name)}.json`, { cache: "no-cache" });
  if (!answer.ok) throw new Error(`data/${name}.json: ${answer.status} ${answer.statusText}`);
  return answer.json();
}

export const isServed = () => document.getElementById("data-index") === null;

// The script runs as soon as the index is there; the other blocks follow it.
const parsed = () =>
  document.readyState !== "loading" ||
  new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// An episode's row. A few shards are kept, the one used longest ago goes first.
export async function episodeRow(run, n) {
  const size = run.episodes.size || 32;
  const rows = await shard(run, Math.floor(n / size));
  return rows[n % size] || null;
}

function shard(run, k) {
  // A run that goes on has more in its shards later: how much there was is part of the key.
  const name = `${run.id}-${k}`;
  const key = `${name}:${run.episodes.count}`;
  const found =
    shards.get(key) || load(name).catch((error) => (shards.delete(key), Promise.reject(error)));
  shards.delete(key);
  shards.set(key, found);
  if (shards.size > KEPT_SHARDS) shards.delete(shards.keys().next().value);
  return found;
}
