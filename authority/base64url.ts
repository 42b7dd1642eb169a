/** Base64url without padding, as a canonical encoder writes it; `undefined` for anything else. */
export function strictBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  // The decoder skips what it does not know and drops odd bits. Encoding again shows both.
  return bytes.toString("base64url") === text ? bytes : undefined;
}

/** Last characters of which no bit is left over, by the characters in the last group of four. */
const LAST_OF_TWO = /[AQgw]$/;
const LAST_OF_THREE = /[AEIMQUYcgkosw048]$/;

/**
 * The same of text that is known to be of the alphabet: then nothing but its end can have a second
 * spelling, and nothing has to be encoded again.
 */
export function base64urlOfAlphabet(text: string): Buffer | undefined {
  const over = text.length % 4;
  const isOne =
    over === 0 ||
    (over === 2 && LAST_OF_TWO.test(text)) ||
    (over === 3 && LAST_OF_THREE.test(text));
  return isOne ? Buffer.from(text, "base64url") : undefined;
}
