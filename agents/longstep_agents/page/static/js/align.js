// Two trajectories of one task: what they have in common, where they part, where they meet again.

const stateOf = (step) => step.state_key || step.observation || "";
export const sameState = (a, b) => stateOf(a) === stateOf(b);
const MOST_CELLS = 4_000_000;

// How many first steps are alike: the same state, the same action.
export function commonStart(a, b) {
  let n = 0;
  while (n < a.length && n < b.length && sameState(a[n], b[n]) && a[n].action === b[n].action)
    n += 1;
  return n;
}

// Rows `[i, j]` of steps in order; one of both is null where a state is not matched. The matching
// is the longest common subsequence of states (quadratic, so very long pairs go side by side).
export function alignSteps(a, b, from) {
  const [left, right] = [a.slice(from), b.slice(from)];
  if (left.length * right.length > MOST_CELLS) return sideBySide(a, b, from);
  const longest = lengths(left, right);
  const rows = [];
  let [i, j] = [0, 0];
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && sameState(left[i], right[j]))
      rows.push([from + i++, from + j++]);
    else if (j >= right.length || (i < left.length && longest[i + 1][j] >= longest[i][j + 1]))
      rows.push([from + i++, null]);
    else rows.push([null, from + j++]);
  }
  return pairUp(rows);
}

function lengths(left, right) {
  const table = Array.from({ length: left.length + 1 }, () => new Uint32Array(right.length + 1));
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      table[i][j] = sameState(left[i], right[j])
        ? table[i + 1][j + 1] + 1
        : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  return table;
}

// Between two meetings, steps of the left and of the right share rows: they are not the same state.
function pairUp(rows) {
  const paired = [];
  let [ours, theirs] = [[], []];
  const flush = () => {
    for (let k = 0; k < Math.max(ours.length, theirs.length); k += 1)
      paired.push({ left: ours[k] ?? null, right: theirs[k] ?? null, met: false });
    [ours, theirs] = [[], []];
  };
  for (const [i, j] of rows) {
    if (i !== null && j !== null) {
      flush();
      paired.push({ left: i, right: j, met: true });
    } else if (i !== null) ours.push(i);
    else theirs.push(j);
  }
  flush();
  return paired;
}

function sideBySide(a, b, from) {
  const rows = [];
  for (let k = from; k < Math.max(a.length, b.length); k += 1) {
    rows.push({
      left: k < a.length ? k : null,
      right: k < b.length ? k : null,
      met: k < a.length && k < b.length && sameState(a[k], b[k]),
    });
  }
  return rows;
}
