/** Base64url without padding, as a canonical encoder writes it; `undefined` for anything else. */
export function strictBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  // The decoder skips what it does not know and drops odd bits. Encoding again shows both.
  return bytes.toString("base64url") === text ? bytes : undefined;
}
