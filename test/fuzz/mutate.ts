/** A generator of whole numbers: the same seed gives the same numbers for ever. */
export function numbersOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  // Mulberry32: small, and good enough to choose where a byte is changed.
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const BYTES_MAX = 16_384;
const CHANGES_MAX = 6;
const SLICE_MAX = 64;
/** Where parsers count, end or begin. */
const TELLING = [0, 1, 9, 10, 13, 32, 34, 44, 58, 92, 123, 125, 127, 128, 192, 239, 255];

/** What an input is made of beside bytes: others to splice with, words of its language. */
export type Stock = {
  readonly corpus: readonly Uint8Array[];
  readonly words: readonly string[];
};

/** One input of the stock, changed in a few places. */
export function mutate(draw: (below: number) => number, { corpus, words }: Stock): Uint8Array {
  let bytes = pick(draw, corpus);
  for (let left = 1 + draw(CHANGES_MAX); left > 0; left--) bytes = change(draw, bytes);
  return bytes.subarray(0, BYTES_MAX);

  function change(by: typeof draw, from: Uint8Array): Uint8Array {
    const at = by(from.length + 1);
    const length = 1 + by(SLICE_MAX);
    const rest = from.subarray(Math.min(from.length, at + length));
    switch (by(7)) {
      case 0:
        return joined(from.subarray(0, at), rest);
      case 1:
        return joined(from.subarray(0, at + length), from.subarray(at));
      case 2:
        return joined(from.subarray(0, at), pick(by, corpus).subarray(by(SLICE_MAX)));
      case 3:
        return joined(
          from.subarray(0, at),
          Buffer.from(pick(by, words), "latin1"),
          from.subarray(at),
        );
      case 4:
        return joined(from.subarray(0, at), Buffer.from(pick(by, words), "latin1"), rest);
      case 5:
        return replaced(from, at, pick(by, TELLING));
      default:
        return replaced(from, at, by(256));
    }
  }
}

function replaced(bytes: Uint8Array, at: number, by: number): Uint8Array {
  const own = Uint8Array.from(bytes);
  if (at < own.length) own[at] = by;
  return own;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function pick<T>(draw: (below: number) => number, from: readonly T[]): T {
  return from[draw(from.length)] as T;
}
