/**
 * Whether a name is one of the known ones but for its case, or for what stands behind a NUL. Go's JSON reader, in which
 * many servers and clients are written, takes it for that one, and the last of both counts: what was judged would not be
 * what is read.
 *
 * @see https://pkg.go.dev/encoding/json#Unmarshal
 */
export function isSpeltOtherwise(name: string, known: ReadonlySet<string>): boolean {
  return !known.has(name) && allFolded(known).has(folded(name));
}

/** The first of some names that is spelt otherwise than the known one. */
export function foldedName(
  names: readonly string[],
  known: ReadonlySet<string>,
): string | undefined {
  return names.find((name) => isSpeltOtherwise(name, known));
}

/** Sets of names are made once, with the module that knows them. */
const FOLDED = new WeakMap<ReadonlySet<string>, ReadonlySet<string>>();

function allFolded(known: ReadonlySet<string>): ReadonlySet<string> {
  let all = FOLDED.get(known);
  if (all === undefined) {
    all = new Set(Array.from(known, folded));
    FOLDED.set(known, all);
  }
  return all;
}

/**
 * By way of capitals: a letter beyond ASCII has an S for its capital, and another a k for its small one. For what is
 * written in C a name ends at its first NUL.
 */
function folded(name: string): string {
  const end = name.indexOf("\0");
  return (end < 0 ? name : name.slice(0, end)).toUpperCase().toLowerCase();
}
