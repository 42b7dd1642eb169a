import { isIP, isIPv4 } from "node:net";
import {
  type CanaryWay,
  PACKET_FORMS,
  type PacketWay,
  type SocketWay,
} from "../../ports/canary-way.ts";

export const WAYS_MAX = 128;
const NAMES_PORT = 53;
/** Three packets on a common link. */
const FRAGMENTED_BYTES = 4_000;
/** Everybody on the link, of either family. The last is sent from an address of the link, which rules treat apart. */
const EVERYBODY = ["255.255.255.255", "224.0.0.1", "ff02::1"] as const;
const WORD = /^[0-9a-f-]{36}$/;

/**
 * What is tried in one round: the plain ways to each address, and to one of each family those that a
 * filter may let through for what they look like, packets of every form among them; and names. Those that
 * need no right come first: an attempt that could not be made has not arrived either, and is told.
 */
export function canaryWays(of: {
  readonly hosts: readonly string[];
  readonly port: number;
  readonly newWord: () => string;
}): readonly CanaryWay[] {
  const { hosts, port, newWord } = of;
  const way = (by: SocketWay["by"], host: string, more: Partial<SocketWay> = {}): SocketWay => ({
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
  const packets = firsts.flatMap((host): PacketWay[] => {
    if (host === undefined) return [];
    const forms = PACKET_FORMS[isIPv4(host) ? 4 : 6];
    return forms.map((form) => ({ word: newWord(), by: "packet", form, host, port }));
  });
  const everybody = EVERYBODY.map((host) => way("udp", host));
  return [...plain, ...disguised, ...everybody, ...packets, { word: newWord(), by: "name" }];
}

/** Whether an answer is what tells that it got out: of others only the word that arrives is. */
export function isToldByAnswer(way: CanaryWay): boolean {
  return way.by === "name" || (way.by === "packet" && ANSWERED_FORMS.includes(way.form));
}

const ANSWERED_FORMS: readonly string[] = ["echo", "protocol"];

/** Reads one of them; false for anything else. */
export function isCanaryWay(value: unknown): value is CanaryWay {
  const { word, by, form, host, port, from, bytes } = (value ?? {}) as Record<string, unknown>;
  const isBetween = (number: unknown, max: number): boolean =>
    Number.isInteger(number) && (number as number) > 0 && (number as number) <= max;
  if (typeof word !== "string" || !WORD.test(word)) return false;
  if (by === "name") return true;
  const family = typeof host === "string" ? isIP(host) : 0;
  if ((family !== 4 && family !== 6) || !isBetween(port, 65_535)) return false;
  if (by === "packet") return (PACKET_FORMS[family] as readonly unknown[]).includes(form);
  return (
    (by === "tcp" || by === "udp") &&
    (from === undefined || isBetween(from, 65_535)) &&
    (bytes === undefined || isBetween(bytes, FRAGMENTED_BYTES))
  );
}

/** For people: where it got to, and how. */
export function wordsOfWay(way: CanaryWay): string {
  if (way.by === "name") return "a resolver";
  if (way.by === "packet") return `${way.host}:${way.port} by a packet (${way.form})`;
  const { by, host, port, from, bytes } = way;
  const how = `${from === undefined ? "" : ` from port ${from}`}${bytes ? " in fragments" : ""}`;
  return `${host}:${port} over ${by}${how}`;
}
