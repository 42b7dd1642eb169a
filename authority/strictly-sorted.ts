/** In the order of their UTF-16 code units, none twice. */
export function isStrictlySorted(texts: readonly string[]): boolean {
  for (let i = 1; i < texts.length; i++) {
    if ((texts[i - 1] as string) >= (texts[i] as string)) return false;
  }
  return true;
}

/** The same texts in the same order. */
export function isSameList(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}
