/** What stands in place of a key. */
const REDACTED = "[redacted]";

/**
 * Shapes of keys, also with their middle starred out as providers like to show them: what is left
 * of such a key still says whose it is.
 */
const SHAPES: readonly RegExp[] = [
  /\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=*-]{8,}/gi,
  /\b(?:sk|pk|rk|altk|key|api)[-_][A-Za-z0-9_.*…-]{6,}/gi,
  /\bAIza[A-Za-z0-9_*-]{8,}/g,
  /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+/g,
];

/**
 * A shorter secret may be a word: some servers want a key and take any, and then it is one like `not-needed`.
 */
const SHOWN_CHARS_MIN = 20;

/** Whether the secret stands in an answer, as it is or as JSON is allowed to write its slashes. */
export function showsSecret(answer: Uint8Array, secret: string): boolean {
  if (secret.length < SHOWN_CHARS_MIN) return false;
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.length);
  if (bytes.includes(secret)) return true;
  return secret.includes("/") && bytes.includes(secret.replaceAll("/", "\\/"));
}

/** Takes key material out of a text: the secrets given, and whatever has the shape of a key. */
export function scrubKeyMaterial(text: string, secrets: Iterable<string>): string {
  let scrubbed = text;
  for (const secret of secrets) scrubbed = scrubbed.replaceAll(secret, REDACTED);
  for (const shape of SHAPES) scrubbed = scrubbed.replaceAll(shape, REDACTED);
  return scrubbed;
}
