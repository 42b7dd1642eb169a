/**
 * The first of some names that is one of the known ones but for its case. Go's JSON reader, in which many MCP servers and
 * clients are written, takes it for that one, and the last of both counts: what was judged would not be what is read.
 *
 * @see https://pkg.go.dev/encoding/json#Unmarshal
 */
export function foldedName(
  names: readonly string[],
  known: ReadonlySet<string>,
): string | undefined {
  return names.find((name) => {
    if (known.has(name)) return false;
    const one = folded(name);
    return [...known].some((other) => folded(other) === one);
  });
}

/** By way of capitals: a letter beyond ASCII has an S for its capital, and another a k for its small one. */
function folded(name: string): string {
  return name.toUpperCase().toLowerCase();
}
