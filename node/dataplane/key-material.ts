import { withoutEscapes } from "./json-escapes.ts";

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

/** The secret, if it may not be shown: a word may. */
export function shownSecret(secret: string | undefined): string | undefined {
  return secret === undefined || secret.length < SHOWN_CHARS_MIN ? undefined : secret;
}

/**
 * Whether the secret stands in an answer, as it is or as JSON may write it.
 *
 * @param secret As `shownSecret` has it.
 */
export function showsSecret(answer: Uint8Array, secret: string): boolean {
  // Of a stream nearly every text is shorter.
  if (answer.length < secret.length) return false;
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.length);
  if (bytes.includes(secret)) return true;
  // What a key is of, JSON writes in another way in these two cases alone.
  const mayBeEscaped = bytes.includes("\\u00") || (ESCAPED.test(secret) && bytes.includes("\\"));
  return mayBeEscaped && withoutEscapes(bytes.toString("latin1")).includes(secret);
}

const ESCAPED = /["\\/]/;

/** Whose account it is, as providers say it in their errors: who pays is nothing an agent has to know. */
const ACCOUNTS: readonly RegExp[] = [
  /\b(?:org|proj)[-_][A-Za-z0-9]{12,}/g,
  /\b(?:organization|workspace|project|account)(?:'s|[_ ]id)?[ :("'=]{1,4}[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi,
  /\bprojects?(?:[_ ]number)?[ :/=#'"]{1,3}[0-9]{6,}/gi,
];

/** Takes key material out of a text: the secrets given, and whatever has the shape of a key or an account. */
export function scrubKeyMaterial(text: string, secrets: Iterable<string>): string {
  let scrubbed = text;
  for (const secret of secrets) scrubbed = scrubbed.replaceAll(secret, REDACTED);
  for (const shape of [...SHAPES, ...ACCOUNTS]) scrubbed = scrubbed.replaceAll(shape, REDACTED);
  return scrubbed;
}
