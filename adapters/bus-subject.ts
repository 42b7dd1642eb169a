import { BusFault } from "../ports/bus.ts";
import {
  COMMITTED_PREFIX,
  CONTROL_PREFIX,
  CONTROL_STREAM,
  JOURNAL_PREFIX,
  JOURNAL_STREAM,
  LEADER_PREFIX,
  LEADER_STREAM,
  PART_PREFIX,
  PART_STREAM,
  REVOCATION_PREFIX,
  REVOCATION_STREAM,
  streamOf,
} from "../proto/subjects.ts";

/**
 * What both buses hold subjects and payloads to, so that what passes on one passes on the other.
 */

export const PAYLOAD_BYTES_MAX = 1_000_000;
export const SUBJECT_BYTES_MAX = 512;
export const MSG_ID_BYTES_MAX = 128;
/** Messages of one `read` at most. */
export const READ_COUNT_MAX = 1024;

const TOKEN = "[A-Za-z0-9_$-]+";
const SUBJECT_PATTERN = new RegExp(`^${TOKEN}(?:\\.${TOKEN})*$`);
const PATTERN_PATTERN = new RegExp(`^(?:(?:${TOKEN}|\\*)\\.)*(?:${TOKEN}|\\*|>)$`);

/** A stream: the subjects it takes, what of them it keeps, and whether committed copies are sent. */
export type StreamShape = {
  readonly name: string;
  readonly prefix: string;
  /** Messages that are kept: the newest of each subject, or so many of all. */
  readonly keeps: "last" | number;
  readonly republished: boolean;
};

/** Messages of the journal that are kept. Snapshots come far more often. */
export const JOURNAL_MESSAGES_MAX = 16_384;

/** Parts of policies that are kept: of the two largest that there may be, and of many that are not so large. */
export const PART_MESSAGES_MAX = 256;

/** Every stream of the mesh. */
export const STREAMS: readonly StreamShape[] = [
  { name: CONTROL_STREAM, prefix: CONTROL_PREFIX, keeps: "last", republished: true },
  { name: REVOCATION_STREAM, prefix: REVOCATION_PREFIX, keeps: "last", republished: true },
  { name: JOURNAL_STREAM, prefix: JOURNAL_PREFIX, keeps: JOURNAL_MESSAGES_MAX, republished: false },
  { name: LEADER_STREAM, prefix: LEADER_PREFIX, keeps: "last", republished: false },
  { name: PART_STREAM, prefix: PART_PREFIX, keeps: PART_MESSAGES_MAX, republished: false },
];

/** The pattern of all subjects of a stream. */
export function subjectsOf(name: string): string {
  const stream = STREAMS.find((each) => each.name === name);
  if (!stream) throw new TypeError(`no stream ${name}`);
  return `${stream.prefix}>`;
}

/** Where the committed copy of a stream's message is heard; undefined where none is sent. */
export function committedSubject(subject: string): string | undefined {
  const stream = STREAMS.find(({ prefix }) => subject.startsWith(prefix));
  if (!stream) throw new TypeError(`no stream takes ${subject}`);
  return stream.republished ? COMMITTED_PREFIX + subject.slice(stream.prefix.length) : undefined;
}

/** Throws for the name of a stream that no bus has: a bug of ours. */
export function mustBeStream(name: string): void {
  if (!STREAMS.some((stream) => stream.name === name)) throw new TypeError(`no stream ${name}`);
}

/**
 * Throws for a subject that `send` and `ask` may not use: a bug of ours.
 *
 * A plain message on a stream's subject would be stored without a look at the expected sequence,
 * and one on a committed subject would pass for a copy of what was stored.
 */
export function mustBePlainSubject(subject: string): void {
  mustBeSubject(subject);
  if (streamOf(subject) || subject.startsWith(COMMITTED_PREFIX)) {
    throw new TypeError(`only an append speaks on ${subject}`);
  }
}

/** Throws for anything but one subject without wildcards: a bug of ours. */
export function mustBeSubject(subject: string): void {
  if (subject.length > SUBJECT_BYTES_MAX || !SUBJECT_PATTERN.test(subject)) {
    throw new TypeError(`not a subject: ${subject.slice(0, SUBJECT_BYTES_MAX)}`);
  }
}

/**
 * Throws for a pattern that is malformed or names a stream's subjects: a bug of ours. What is heard
 * there is not stored yet, and may never be.
 */
export function mustBePattern(pattern: string): void {
  if (pattern.length > SUBJECT_BYTES_MAX || !PATTERN_PATTERN.test(pattern)) {
    throw new TypeError(`not a pattern: ${pattern.slice(0, SUBJECT_BYTES_MAX)}`);
  }
  if (streamOf(pattern)) throw new TypeError(`listen to ${COMMITTED_PREFIX}> instead`);
}

/** @throws BusFault `too_large`. */
export function mustFit(bytes: Uint8Array): void {
  if (bytes.length > PAYLOAD_BYTES_MAX) {
    throw new BusFault("too_large", `${bytes.length} bytes of at most ${PAYLOAD_BYTES_MAX}`);
  }
}

/** Throws for a message id that could not be a header's value: a bug of ours. */
export function mustBeMsgId(msgId: string): void {
  if (!/^[\x21-\x7e]+$/.test(msgId) || msgId.length > MSG_ID_BYTES_MAX) {
    throw new TypeError(`not a message id: ${msgId.slice(0, MSG_ID_BYTES_MAX)}`);
  }
}

/** Whether a subject is one of those that a pattern names. */
export function subjectMatches(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [index, token] of wanted.entries()) {
    if (token === ">") return tokens.length > index;
    if (tokens[index] === undefined || (token !== "*" && token !== tokens[index])) return false;
  }
  return tokens.length === wanted.length;
}

/** Calls a listener. What it throws is our bug: it ends the process, not another listener. */
export function callListener(fn: () => void): void {
  try {
    fn();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
