import type { Random } from "../../ports/random.ts";

/**
 * Everything that is left to chance in a simulated run, from one seed: sfc32, whose state is three
 * words and a counter.
 *
 * Parts draw from streams of their own (`fork`), so that one more draw in one part does not change
 * what happens in all others.
 *
 * @see https://pracrand.sourceforge.net/RNG_engines.txt
 */
export class Draw {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream = 0) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = stream >>> 0;
    for (let i = 0; i < 15; i++) this.word();
  }

  /** 32 bits. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** From 0 up to, and without, 1. */
  unit(): number {
    return this.word() / 2 ** 32;
  }

  /** A whole number below `count`. */
  below(count: number): number {
    return Math.floor(this.unit() * count);
  }

  between(low: number, high: number): number {
    return low + this.unit() * (high - low);
  }

  chance(share: number): boolean {
    return this.unit() < share;
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError("nothing to pick from");
    return list[this.below(list.length)] as T;
  }

  fork(): Draw {
    return new Draw(this.word(), this.word());
  }

  /** The port that product code draws from. */
  random(): Random {
    return {
      bytes: (count) => {
        const bytes = new Uint8Array(count);
        for (let i = 0; i < count; i += 4) {
          const word = this.word();
          for (let j = 0; j < 4 && i + j < count; j++) bytes[i + j] = word >>> (8 * j);
        }
        return bytes;
      },
    };
  }
}
