/** The one spelling of the pieces that notes, checkpoints and receipts are made of. */

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Text of valid UTF-8, a byte order mark kept as a character; `undefined` for anything else. */
export function strictUtf8(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Standard base64 with padding, as a canonical encoder writes it; `undefined` for anything else.
 */
export function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  // The decoder skips what it does not know. Encoding again shows whether there was any of it.
  return bytes.toString("base64") === text ? bytes : undefined;
}

/** A safe integer >= 0 in decimal without leading zeros; `undefined` for anything else. */
export function strictDecimal(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
