import fc from "fast-check";

/** A character a byte. */
export function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

/** The bytes cut where these say, each a share of what is left. */
export function cutAt(bytes: Uint8Array, shares: readonly number[]): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const share of shares) {
    const count = Math.max(1, Math.floor((bytes.length - at) * share));
    if (at + count >= bytes.length) break;
    pieces.push(bytes.subarray(at, at + count));
    at += count;
  }
  return [...pieces, bytes.subarray(at)];
}

/** A share of a length; drawn as a double it would lie next to 0 nearly always, and nothing be changed but first bytes. */
const share = (max: number): fc.Arbitrary<number> =>
  fc.integer({ min: 0, max: max * 1_000 }).map((one) => one / 1_000);

/** For `cutAt`. */
export const shares = fc.array(share(0.9), { maxLength: 12 });

/** What may be in a body, a character a byte. */
export const bodyText = fc
  .uint8Array({ maxLength: 60 })
  .map((bytes) => Buffer.from(bytes).toString("latin1"));

/** Name and value of a header of good form. @param isSpecial Names that mean something. */
export function headerField(isSpecial: RegExp): fc.Arbitrary<[string, string]> {
  return fc.tuple(
    fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,9}$/).filter((name) => !isSpecial.test(name)),
    fc.stringMatching(/^[!-~\xa1-\xff]([ -~\xa1-\xff]{0,12}[!-~])?$/),
  );
}

/** What HTTP/1.1 is made of, and what is no part of it. */
const WORDS = [
  ...["\r\n", "\n", "\r", " ", "\t", ":", ";", ", ", "0", "5", "\0", "a", "chunked", "\r\n\r\n"],
  ...["content-length: 3\r\n", "transfer-encoding: chunked\r\n"],
];

/** One to three changes of a text: where as a share of it, what is put there, and how much goes. */
export type Changes = readonly (readonly [share: number, word: string, cut: number])[];

/** @param words What may be put somewhere, besides the usual. */
export function changesBy(words: readonly string[]): fc.Arbitrary<Changes> {
  const change = fc.tuple(share(1), fc.constantFrom(...WORDS, ...words), fc.nat(4));
  return fc.array(change, { minLength: 1, maxLength: 3 });
}

export function changed(text: string, changes: Changes): string {
  return changes.reduce((now, [share, word, cut]) => {
    const at = Math.floor(share * now.length);
    return now.slice(0, at) + word + now.slice(at + cut);
  }, text);
}

/** Text that was changed. @param words As `changesBy` has them. */
export function spoilt(text: fc.Arbitrary<string>, words: readonly string[]): fc.Arbitrary<string> {
  return fc.tuple(text, changesBy(words)).map(([whole, changes]) => changed(whole, changes));
}
