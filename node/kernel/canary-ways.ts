import { isIP, isIPv4 } from "node:net";
import {
  ANSWERED_FORMS,
  type AskedWay,
  type CanaryWay,
  PACKET_FORMS,
  type PacketForm,
  type PacketWay,
  RESET_FORMS,
  type SocketWay,
} from "../../ports/canary-way.ts";
import { DNS_PORT, METADATA } from "./kernel-view.ts";

export const WAYS_MAX = 128;
const NAMES_PORT = 53;
/** Three packets on a common link. */
const FRAGMENTED_BYTES = 4_000;
/** Everybody on the link, of either family. The last is sent from an address of the link, which rules treat apart. */
const EVERYBODY = ["255.255.255.255", "224.0.0.1", "ff02::1"] as const;
/** A shell, the pages of node and enforcer, and the cluster's own agent, where a machine has them. */
const SERVICE_PORTS = [22, 4_091, 4_094, 10_250] as const;
const METADATA_PORT = 80;
/** Of no service that is still in use (RFC 1078). */
const CLOSED_PORT = 1;
/** What a pod would answer by itself, one of each kind. */
const POD_FORMS = ["echo", "protocol", "fin"] as const;
const WORD = /^[0-9a-f-]{36}$/;

type WaysOf = {
  /** Addresses of the machine. */
  readonly hosts: readonly string[];
  /** Addresses of pods beside the canary. */
  readonly pods: readonly string[];
  /** Where words are heard. */
  readonly port: number;
  readonly newWord: () => string;
};

/**
 * What is tried in one round: the plain ways to each address, and to one of each family those that a
 * filter may let through for what they look like, packets of every form among them; what a pod beside it answers; services;
 * and names. Those that need no right come first: an attempt that could not be made has not arrived either, and is told.
 */
export function canaryWays(of: WaysOf): readonly CanaryWay[] {
  const { hosts, pods, port, newWord } = of;
  const way = (by: SocketWay["by"], host: string, more: Partial<SocketWay> = {}): SocketWay => ({
    ...{ word: newWord(), by, host, port },
    ...more,
  });
  const plain = hosts.flatMap((host) => [way("tcp", host), way("udp", host)]);
  const firsts = [hosts.find(isIPv4), hosts.find((host) => !isIPv4(host))].filter(
    (host) => host !== undefined,
  );
  const disguised = firsts.flatMap((host) => [
    way("tcp", host, { from: NAMES_PORT }),
    way("udp", host, { from: NAMES_PORT }),
    way("udp", host, { bytes: FRAGMENTED_BYTES }),
  ]);
  const everybody = EVERYBODY.map((host) => way("udp", host));
  const packets = (host: string, forms: readonly PacketForm[]): PacketWay[] =>
    forms.map((form) => ({
      ...{ word: newWord(), by: "packet", form, host },
      port: isOf(RESET_FORMS, form) ? CLOSED_PORT : port,
    }));
  return [
    ...plain,
    ...disguised,
    ...everybody,
    ...askedWays(firsts, newWord),
    ...firsts.flatMap((host) => packets(host, PACKET_FORMS[isIPv4(host) ? 4 : 6])),
    ...pods.flatMap((pod) => packets(pod, POD_FORMS)),
    { word: newWord(), by: "name" },
  ];
}

function askedWays(hosts: readonly string[], newWord: () => string): AskedWay[] {
  const ask = (what: AskedWay["for"], host: string, port: number): AskedWay => ({
    ...{ word: newWord(), by: "question", for: what, host, port },
  });
  return [
    ...hosts.flatMap((host) => SERVICE_PORTS.map((port) => ask("page", host, port))),
    ...hosts.map((host) => ask("name", host, DNS_PORT)),
    ...Object.values(METADATA).map((host) => ask("page", host, METADATA_PORT)),
  ];
}

/** Whether an answer is what tells that it got out: of others only the word that arrives is. */
export function isToldByAnswer(way: CanaryWay): boolean {
  if (way.by === "packet") return isOf(ANSWERED_FORMS, way.form) || isToldByReset(way);
  return way.by !== "tcp" && way.by !== "udp";
}

/** Whether that answer is a reset, which the rules themselves give to whoever is killed. */
export function isToldByReset(way: CanaryWay): boolean {
  return way.by === "packet" && isOf(RESET_FORMS, way.form);
}

function isOf(forms: readonly PacketForm[], form: PacketForm): boolean {
  return forms.includes(form);
}

/** Reads one of them; false for anything else. */
export function isCanaryWay(value: unknown): value is CanaryWay {
  const fields = (value ?? {}) as Record<string, unknown>;
  const { word, by, form, host, port, from, bytes } = fields;
  const isBetween = (number: unknown, max: number): boolean =>
    Number.isInteger(number) && (number as number) > 0 && (number as number) <= max;
  if (typeof word !== "string" || !WORD.test(word)) return false;
  if (by === "name") return true;
  const family = typeof host === "string" ? isIP(host) : 0;
  if ((family !== 4 && family !== 6) || !isBetween(port, 65_535)) return false;
  if (by === "packet") return (PACKET_FORMS[family] as readonly unknown[]).includes(form);
  if (by === "question") return fields.for === "page" || fields.for === "name";
  return (
    (by === "tcp" || by === "udp") &&
    (from === undefined || isBetween(from, 65_535)) &&
    (bytes === undefined || isBetween(bytes, FRAGMENTED_BYTES))
  );
}

/** For people: where it got to, and how. */
export function wordsOfWay(way: CanaryWay): string {
  if (way.by === "name") return "a resolver";
  const at = `${way.host}:${way.port}`;
  if (way.by === "packet") return `${at} by a packet (${way.form})`;
  if (way.by === "question") return `what listens at ${at}, asked for a ${way.for}`;
  const { by, from, bytes } = way;
  const how = `${from === undefined ? "" : ` from port ${from}`}${bytes ? " in fragments" : ""}`;
  return `${at} over ${by}${how}`;
}
