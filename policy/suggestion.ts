/** How many letters a word may be off to be taken for a slip. */
const DISTANCE_MAX = 2;

/** `; did you mean "x"?` for the candidate that a misspelt `word` is closest to, else nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  let nearest: string | undefined;
  // A short word is near to everything, so the slip must also be small against the word.
  let distance = Math.min(DISTANCE_MAX, Math.floor(word.length / 2)) + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= distance) continue;
    const edits = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (edits < distance) {
      nearest = candidate;
      distance = edits;
    }
  }
  return nearest === undefined ? "" : `; did you mean "${nearest}"?`;
}

/** Letters to insert, delete, change, or swap with their neighbour (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let previous: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let edits = Math.min(at(row, j) + 1, at(next, j - 1) + 1, at(row, j - 1) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        edits = Math.min(edits, at(previous, j - 2) + 1);
      }
      next.push(edits);
    }
    previous = row;
    row = next;
  }
  return at(row, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] as number;
}
