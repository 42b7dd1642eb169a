import type { CanaryWay } from "../../ports/canary-way.ts";
import type { Clock } from "../../ports/clock.ts";
import { pause } from "../../ports/pause.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import type { KernelFault } from "../../proto/kernel-faults.ts";
import { canaryWays, isCanaryWay, WAYS_MAX, wordsOfWay } from "./canary-ways.ts";

// On every machine one pod tries to get out, again and again, and is meant to fail. It is asked from
// the machine's side, tries each way with a word that nobody else knows, and what counts is whether that
// word arrives at the machine: never what the canary itself believes.

/** What a canary is asked: all ways of one round at once. */
export type CanaryQuestion = { readonly ways: readonly CanaryWay[] };

/** Reads a question; undefined for anything else. */
export function readCanaryQuestion(message: unknown): CanaryQuestion | undefined {
  const { ways } = (message ?? {}) as { ways?: unknown };
  if (!Array.isArray(ways) || ways.length > WAYS_MAX) return undefined;
  return ways.every(isCanaryWay) ? { ways } : undefined;
}

export type CanaryRoundDeps = {
  readonly clock: Clock;
  readonly random: Random;
  /** Addresses of this machine that a pod could dial. */
  readonly machineAddresses: () => readonly string[];
  readonly port: number;
  readonly ask: (address: string, question: CanaryQuestion) => Promise<unknown>;
  /** How long a word may be under way after the canary has said that it is done. */
  readonly settleMs: number;
};

/** Asks canaries and listens for what arrives. */
export class CanaryRounds {
  readonly #deps: CanaryRoundDeps;
  readonly #heard = new Set<string>();
  readonly #words = new Set<string>();

  constructor(deps: CanaryRoundDeps) {
    this.#deps = deps;
  }

  /** A word arrived at this machine. */
  hear(word: string): void {
    if (this.#words.has(word)) this.#heard.add(word);
  }

  /** One round. @returns What is wrong; empty when every canary was stopped everywhere. */
  async round(canaries: readonly string[]): Promise<readonly KernelFault[]> {
    if (canaries.length === 0) return [silent("no canary tries to get out of this machine")];
    const wrong = await Promise.all(canaries.map((address) => this.#try(address)));
    return wrong.flat();
  }

  async #try(address: string): Promise<readonly KernelFault[]> {
    const { clock, random, machineAddresses, port, ask, settleMs } = this.#deps;
    const newWord = () => uuidV7(clock.nowMs(), random);
    const ways = canaryWays({ hosts: machineAddresses(), port, newWord });
    for (const { word } of ways) this.#words.add(word);
    const answer = await ask(address, { ways });
    await pause(clock, settleMs);
    const arrived = ways.filter(({ word }) => this.#heard.delete(word)).map(escaped);
    for (const { word } of ways) this.#words.delete(word);
    if (answer !== undefined) return arrived;
    return [...arrived, silent(`the canary at ${address} does not answer`)];
  }
}

function escaped(way: CanaryWay): KernelFault {
  return { rc: "kernel_bypass", what: `a canary reached ${wordsOfWay(way)}` };
}

/** A canary that does not try proves nothing. */
export function silent(what: string): KernelFault {
  return { rc: "kernel_canary_silent", what };
}
