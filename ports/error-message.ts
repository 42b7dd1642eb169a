/** What was thrown, in words: its message, or whatever else it was as text. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The same with what caused it, and what caused that: of a file that cannot be written, why. */
export function errorWithCauses(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause === undefined
    ? errorMessage(error)
    : `${errorMessage(error)}: ${errorWithCauses(cause)}`;
}
