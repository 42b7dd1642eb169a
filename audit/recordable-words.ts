/** Characters of an operator's reason, at most. */
export const REASON_CHARS_MAX = 256;

/**
 * Makes an operator's own words fit for a record, as `recordable` does for names: they are in the log because
 * they are meant to be, so spaces stay.
 */
export function recordableWords(text: string): string {
  const kept = text.length > REASON_CHARS_MAX ? `${text.slice(0, REASON_CHARS_MAX - 1)}~` : text;
  return kept.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "?");
}
