import { isIPv4, isIPv6 } from "node:net";
import { ANSWERED, type CanaryWay, UNABLE } from "../../ports/canary-way.ts";
import type { Clock } from "../../ports/clock.ts";
import { pause } from "../../ports/pause.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import type { KernelFault } from "../../proto/kernel-faults.ts";
import {
  canaryWays,
  isCanaryWay,
  isToldByAnswer,
  isToldByReset,
  WAYS_MAX,
  wordsOfWay,
} from "./canary-ways.ts";

// On every machine one pod tries to get out, again and again, and is meant to fail. It is asked from
// the machine's side, tries each way with a word that nobody else knows, and what counts is whether that
// word arrives at the machine, never what the canary itself believes; except where nobody could hear it but a kernel, a service
// or a resolver, whose answer counts.

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
  /** Addresses of the other pods of this machine. */
  readonly podsBeside: (canary: string) => readonly string[];
  /** Whether the rules themselves reset what it sends. */
  readonly isKilled: (canary: string) => boolean;
  readonly port: number;
  readonly ask: (address: string, question: CanaryQuestion) => Promise<unknown>;
  /** How long a word may be under way after the canary has said that it is done. */
  readonly settleMs: number;
  /** How many of its ways a canary could not try; told when that changes. */
  readonly onUnable: (address: string, ways: number) => void;
};

/** Asks canaries and listens for what arrives. */
export class CanaryRounds {
  readonly #deps: CanaryRoundDeps;
  readonly #heard = new Set<string>();
  readonly #words = new Set<string>();
  readonly #unable = new Map<string, number>();
  #round = 0;

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
    this.#round += 1;
    const wrong = await Promise.all(canaries.map((address) => this.#try(address)));
    return wrong.flat();
  }

  async #try(address: string): Promise<readonly KernelFault[]> {
    const { clock, random, machineAddresses, isKilled, port, ask, settleMs } = this.#deps;
    const newWord = () => uuidV7(clock.nowMs(), random);
    const pods = this.#podsBeside(address);
    const ways = canaryWays({ hosts: machineAddresses(), pods, port, newWord });
    for (const { word } of ways) this.#words.add(word);
    const wasKilled = isKilled(address);
    const answer = await ask(address, { ways });
    await pause(clock, settleMs);
    const isReset = wasKilled || isKilled(address);
    const saw = readSaw(answer);
    const arrived = ways
      .filter((way, at) => {
        const isHeard = this.#heard.delete(way.word);
        const isTold = isToldByAnswer(way) && !(isReset && isToldByReset(way));
        return isHeard || (isTold && saw[at] === ANSWERED);
      })
      .map(escaped);
    for (const { word } of ways) this.#words.delete(word);
    this.#tellUnable(address, saw.filter((how) => how === UNABLE).length);
    if (answer !== undefined) return arrived;
    return [...arrived, silent(`the canary at ${address} does not answer`)];
  }

  /** One of each family, another in each round. */
  #podsBeside(address: string): readonly string[] {
    const pods = this.#deps.podsBeside(address);
    return [pods.filter(isIPv4), pods.filter(isIPv6)].flatMap((those) =>
      those.slice(this.#round % those.length).slice(0, 1),
    );
  }

  #tellUnable(address: string, ways: number): void {
    if ((this.#unable.get(address) ?? 0) === ways) return;
    this.#unable.set(address, ways);
    this.#deps.onUnable(address, ways);
  }
}

function readSaw(answer: unknown): readonly unknown[] {
  const { saw } = (answer ?? {}) as { readonly saw?: unknown };
  return Array.isArray(saw) ? saw : [];
}

function escaped(way: CanaryWay): KernelFault {
  return { rc: "kernel_bypass", what: `a canary reached ${wordsOfWay(way)}` };
}

/** A canary that does not try proves nothing. */
export function silent(what: string): KernelFault {
  return { rc: "kernel_canary_silent", what };
}
