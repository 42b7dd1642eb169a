import { isIP } from "node:net";
import type { Clock } from "../../ports/clock.ts";
import { pause } from "../../ports/pause.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import type { KernelFault } from "../../proto/kernel-faults.ts";

// On every machine one pod tries to get out, again and again, and is meant to fail. It is asked from
// the machine's side, tries each way with a word that nobody else knows, and what counts is whether that
// word arrives at the machine: never what the canary itself believes.

export type CanaryWay = {
  readonly by: "tcp" | "udp";
  readonly host: string;
  readonly port: number;
};

/** What a canary is asked. */
export type CanaryQuestion = { readonly word: string; readonly ways: readonly CanaryWay[] };

const WAYS_MAX = 64;
const WORD = /^[0-9a-f-]{36}$/;

/** Reads a question; undefined for anything else. */
export function readCanaryQuestion(message: unknown): CanaryQuestion | undefined {
  const { word, ways } = (message ?? {}) as { word?: unknown; ways?: unknown };
  if (typeof word !== "string" || !WORD.test(word)) return undefined;
  if (!Array.isArray(ways) || ways.length > WAYS_MAX) return undefined;
  const isWay = ({ by, host, port }: Record<string, unknown>): boolean =>
    (by === "tcp" || by === "udp") &&
    typeof host === "string" &&
    isIP(host) !== 0 &&
    Number.isInteger(port) &&
    (port as number) > 0 &&
    (port as number) < 65_536;
  return ways.every((way) => isWay(way ?? {})) ? { word, ways: ways as CanaryWay[] } : undefined;
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
  #words = new Set<string>();

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
    const hosts = machineAddresses();
    const words = new Map<string, CanaryWay>();
    for (const host of hosts)
      for (const by of ["tcp", "udp"] as const)
        words.set(uuidV7(clock.nowMs(), random), { by, host, port });
    this.#words = new Set([...this.#words, ...words.keys()]);
    const answers = await Promise.all(
      [...words].map(([word, way]) => ask(address, { word, ways: [way] })),
    );
    await pause(clock, settleMs);
    const arrived = [...words].filter(([word]) => this.#heard.delete(word));
    for (const word of words.keys()) this.#words.delete(word);
    if (answers.some((answer) => answer === undefined))
      return [...arrived.map(escaped), silent(`the canary at ${address} does not answer`)];
    return arrived.map(escaped);
  }
}

function escaped([, { by, host, port }]: readonly [string, CanaryWay]): KernelFault {
  return { rc: "kernel_bypass", what: `a canary reached ${host}:${port} over ${by}` };
}

/** A canary that does not try proves nothing. */
export function silent(what: string): KernelFault {
  return { rc: "kernel_canary_silent", what };
}
