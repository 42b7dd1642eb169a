import type { Random } from "./random.ts";

/**
 * Bytes that follow from a seed: SplitMix64, so the same seed gives the same run. Predictable, and
 * therefore for simulation and tests alone.
 *
 * @see https://doi.org/10.1145/2714064.2660195
 */
export function twinRandom(seed: number): Random {
  let state = BigInt.asUintN(64, BigInt(seed));
  return {
    bytes: (count) => {
      const words = Math.ceil(count / 8);
      const buffer = Buffer.alloc(words * 8);
      for (let word = 0; word < words; word += 1) {
        state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
        buffer.writeBigUInt64LE(mix(state), word * 8);
      }
      return new Uint8Array(buffer.subarray(0, count));
    },
  };
}

function mix(state: bigint): bigint {
  let z = state;
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}
