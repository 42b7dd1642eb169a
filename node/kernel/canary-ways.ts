import { isIP, isIPv4 } from "node:net";
import type { CanaryWay } from "../../ports/canary-way.ts";

export const WAYS_MAX = 128;
const NAMES_PORT = 53;
/** Three packets on a common link. */
const FRAGMENTED_BYTES = 4_000;
/** Everybody on the link, of either family. The last is sent from an address of the link, which rules treat apart. */
const EVERYBODY = ["255.255.255.255", "224.0.0.1", "ff02::1"] as const;
const WORD = /^[0-9a-f-]{36}$/;

/**
 * What is tried in one round: the plain ways to each address, and to one of each family those that a
 * filter may let through for what they look like. None needs a right that a pod may lack, except that a
 * machine may keep the port of names from it; an attempt that could not be made has not arrived either.
 */
export function canaryWays(of: {
  readonly hosts: readonly string[];
  readonly port: number;
  readonly newWord: () => string;
}): readonly CanaryWay[] {
  const { hosts, port, newWord } = of;
  const way = (by: CanaryWay["by"], host: string, more: Partial<CanaryWay> = {}): CanaryWay => ({
    ...{ word: newWord(), by, host, port },
    ...more,
  });
  const plain = hosts.flatMap((host) => [way("tcp", host), way("udp", host)]);
  const firsts = [hosts.find(isIPv4), hosts.find((host) => !isIPv4(host))];
  const disguised = firsts.flatMap((host) =>
    host === undefined
      ? []
      : [
          way("tcp", host, { from: NAMES_PORT }),
          way("udp", host, { from: NAMES_PORT }),
          way("udp", host, { bytes: FRAGMENTED_BYTES }),
        ],
  );
  return [...plain, ...disguised, ...EVERYBODY.map((host) => way("udp", host))];
}

/** Reads one of them; false for anything else. */
export function isCanaryWay(value: unknown): value is CanaryWay {
  const { word, by, host, port, from, bytes } = (value ?? {}) as Record<string, unknown>;
  const isBetween = (number: unknown, max: number): boolean =>
    Number.isInteger(number) && (number as number) > 0 && (number as number) <= max;
  return (
    typeof word === "string" &&
    WORD.test(word) &&
    (by === "tcp" || by === "udp") &&
    typeof host === "string" &&
    isIP(host) !== 0 &&
    isBetween(port, 65_535) &&
    (from === undefined || isBetween(from, 65_535)) &&
    (bytes === undefined || isBetween(bytes, FRAGMENTED_BYTES))
  );
}

/** For people: where it got to, and how. */
export function wordsOfWay({ by, host, port, from, bytes }: CanaryWay): string {
  const how = `${from === undefined ? "" : ` from port ${from}`}${bytes ? " in fragments" : ""}`;
  return `${host}:${port} over ${by}${how}`;
}
