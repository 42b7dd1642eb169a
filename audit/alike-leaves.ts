// Leaves that say what one before them said, but for their request and their numbers.
//
// T1. What is put here is, byte for byte, what the schema would have written.
// T2. What the schema has not taken before, it is asked again: it alone says what is wrong with a record.

import { REQUEST_ID } from "./leaf-schema.ts";
import type {
  Act,
  AuditRecord,
  ContractRef,
  DecisionRecord,
  Hold,
  SettleRecord,
} from "./record.ts";
import type { LeafScan } from "./scan-leaf.ts";

/** Holders whose leaves are known; then they are learnt anew. */
const HOLDERS_MAX = 256;
/** Leaves of one holder and kind that are told apart: by model, with or without a stream. */
const TEMPLATES_MAX = 4;

/** How much was put, and what `scanLeaf` would find in it. */
export type PutLeaf = { readonly bytes: number; readonly scan: LeafScan };

/** The kinds of which there is one each for every allowed request, and hardly any others. */
type Frequent = DecisionRecord | SettleRecord;

const AMOUNTS = ["calls", "over_u", "tok", "usd_u"] as const;
const SEEN = ["n", "scanned"] as const;
/** What differs from leaf to leaf, in the order in which it stands there. All but `rid` are counts. */
const SLOTS = {
  decision: [...AMOUNTS, ...SEEN, "lat_us", "rid", "t"],
  settle: [...SEEN, "lat_us", "rid", ...AMOUNTS, "t"],
} as const;
type Slots = readonly (number | string)[];
/** A part of a template, and how far from its beginning. */
type Mark = { readonly part: number; readonly offset: number };

type Template = {
  /** A record that the schema took. */
  readonly like: Frequent;
  /** What stands before each slot, and after the last. */
  readonly parts: readonly Uint8Array[];
  readonly marks: Readonly<Record<"epAt" | "seqAt" | "kindAt" | "ridAt", Mark>>;
};

/** `last`: the last that was like none of them. Once may be chance; the second time it is a template. */
type Known = { readonly templates: Template[]; last: Frequent | undefined };

/** The leaves that one thread has written lately, by kind and holder. */
export class AlikeLeaves {
  readonly #known = { decision: new Map<string, Known>(), settle: new Map<string, Known>() };
  /** Where each part begins in the leaf that is being put. */
  readonly #begins = new Int32Array(SLOTS.decision.length + 1);

  /**
   * Puts a record that is like one before it.
   *
   * @param into Has room for a leaf from `at` on.
   * @returns Undefined: it is like none, and nothing is said of it.
   */
  put(record: AuditRecord, into: Uint8Array, at: number): PutLeaf | undefined {
    if (record.k !== "decision" && record.k !== "settle") return undefined;
    const known = this.#known[record.k].get(record.kid ?? "");
    if (known === undefined) return undefined;
    for (const template of known.templates) {
      if (!isAlike(record, template.like)) continue;
      const slots = slotsOf(record);
      return slots === undefined ? undefined : this.#fill(template, slots, into, at);
    }
    return undefined;
  }

  /** @param text What the schema has made of the record, all of it ASCII. */
  learn(record: AuditRecord, text: string, scan: LeafScan): void {
    if (record.k !== "decision" && record.k !== "settle") return;
    const slots = slotsOf(record);
    if (slots === undefined) return;
    const known = this.#knownOf(record);
    if (known.last === undefined || !isAlike(record, known.last)) {
      known.last = copyOf(record);
      return;
    }
    if (known.templates.length === TEMPLATES_MAX) known.templates.shift();
    known.templates.push(templateOf(known.last, { text, slots, scan }));
    known.last = undefined;
  }

  #knownOf({ k, kid = "" }: Frequent): Known {
    const holders = this.#known[k];
    const before = holders.get(kid);
    if (before !== undefined) return before;
    if (holders.size === HOLDERS_MAX) holders.clear();
    const known: Known = { templates: [], last: undefined };
    holders.set(kid, known);
    return known;
  }

  #fill({ parts, marks }: Template, slots: Slots, into: Uint8Array, from: number): PutLeaf {
    const begins = this.#begins;
    let at = from;
    for (let no = 0; no < parts.length; no++) {
      const part = parts[no] as Uint8Array;
      begins[no] = at - from;
      into.set(part, at);
      at += part.length;
      const slot = slots[no];
      if (typeof slot === "number") at = putCount(slot, into, at);
      else if (slot !== undefined) at = putText(slot, into, at);
    }
    const placeOf = ({ part, offset }: Mark) => (begins[part] as number) + offset;
    const scan = {
      epAt: placeOf(marks.epAt),
      seqAt: placeOf(marks.seqAt),
      isPlaced: false,
      kindAt: placeOf(marks.kindAt),
      ridAt: placeOf(marks.ridAt),
      t: slots[slots.length - 1] as number,
    };
    return { bytes: at - from, scan };
  }
}

/** Undefined: something of it is missing, or is not as the schema would have it. */
function slotsOf(record: Frequent): Slots | undefined {
  const { in: seen, lat_us: took, rid, t } = record;
  const amounts = record.k === "decision" ? record.hold : record.settled;
  if (amounts === undefined || seen === undefined || took === undefined) return undefined;
  const { calls, over_u: over, tok, usd_u: usd } = amounts;
  const { n, scanned, skipped } = seen;
  // A client that names its requests gives each another name.
  if (record.k === "decision" && record.cid !== undefined) return undefined;
  // What was not scanned says why, which is for the schema to see.
  if (skipped !== undefined || scanned !== n) return undefined;
  const isWhole = isCount(calls) && isCount(over) && isCount(tok) && isCount(usd);
  if (!isWhole || !isCount(n) || !isCount(took) || !isCount(t)) return undefined;
  if (typeof rid !== "string" || !REQUEST_ID.test(rid)) return undefined;
  return record.k === "decision"
    ? [calls, over, tok, usd, n, n, took, rid, t]
    : [n, n, took, rid, calls, over, tok, usd, t];
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Whether both have the same members, and these say the same where they are no slots. */
function isAlike(one: Frequent, like: Frequent): boolean {
  if (one.k === "decision") return like.k === "decision" && isDecisionAlike(one, like);
  return like.k === "settle" && isSettleAlike(one, like);
}

function isDecisionAlike(one: DecisionRecord, like: DecisionRecord): boolean {
  const isSame =
    one.sv === like.sv &&
    one.dec === like.dec &&
    one.st === like.st &&
    one.pol === like.pol &&
    one.tb === like.tb &&
    one.rule === like.rule &&
    one.clamped === like.clamped &&
    one.n === like.n;
  return isSame && isActAlike(one.act, like.act) && isRequestAlike(one, like, one.hold, like.hold);
}

function isActAlike(one: Act | undefined, like: Act | undefined): boolean {
  if (one === undefined || like === undefined) return false;
  const isSame =
    one.model === like.model &&
    one.route === like.route &&
    one.stream === like.stream &&
    one.host === like.host &&
    one.door === like.door &&
    one.orig === like.orig;
  if (!isSame || countOf(one) !== countOf(like)) return false;
  return isListAlike(one.tools, like.tools) && isListAlike(one.out, like.out);
}

function isListAlike(one: Act["tools"], like: Act["tools"]): boolean {
  if (one === undefined || like === undefined) return one === like;
  return one.length === like.length && one.every((item, no) => item === like[no]);
}

/** That a settlement repeats its hold, or tells of what was carried unread, is rare enough for the schema. */
function isSettleAlike(one: SettleRecord, like: SettleRecord): boolean {
  if (one.hold !== undefined || one.bytes !== undefined) return false;
  return isRequestAlike(one, like, one.settled, like.settled);
}

function isRequestAlike(
  one: Frequent,
  like: Frequent,
  amounts: Partial<Hold> | undefined,
  likeAmounts: Partial<Hold> | undefined,
): boolean {
  const isSame =
    one.v === like.v &&
    one.node === like.node &&
    one.ph === like.ph &&
    one.rc === like.rc &&
    one.ag === like.ag &&
    one.kid === like.kid &&
    one.sp === like.sp &&
    one.in?.rules === like.in?.rules &&
    one.in?.skipped === like.in?.skipped &&
    isContractAlike(one.c, like.c) &&
    amounts?.acct === likeAmounts?.acct &&
    amounts?.lease === likeAmounts?.lease;
  if (!isSame || countOf(one) !== countOf(like)) return false;
  return countOf(one.in) === countOf(like.in) && countOf(amounts) === countOf(likeAmounts);
}

function isContractAlike(one: ContractRef | undefined, like: ContractRef | undefined): boolean {
  if (one === undefined || like === undefined) return one === like;
  const isSame = one.id === like.id && one.root === like.root && one.d === like.d;
  return isSame && countOf(one) === countOf(like);
}

/** Those that were compared are all of them, if there are as many. */
function countOf(members: object | undefined): number {
  let count = 0;
  for (const _ in members) count += 1;
  return count;
}

/** What becomes of the caller's own record is the caller's affair. */
function copyOf<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf) as T;
  return Object.fromEntries(Object.entries(value).map(([k, member]) => [k, copyOf(member)])) as T;
}

/** A name that stands between quotes and before a colon is a member's: text that is one's value escapes its quotes. */
function templateOf(
  like: Frequent,
  of: { readonly text: string; readonly slots: Slots; readonly scan: LeafScan },
): Template {
  const { text, slots, scan } = of;
  const parts: string[] = [];
  const begins = [0];
  for (const [no, name] of SLOTS[like.k].entries()) {
    const slot = slots[no] as number | string;
    const member = `"${name}":${typeof slot === "string" ? '"' : ""}`;
    const from = begins[no] as number;
    const at = text.indexOf(member, from) + member.length;
    parts.push(text.slice(from, at));
    begins.push(at + String(slot).length);
  }
  parts.push(text.slice(begins.at(-1)));
  const markOf = (at: number): Mark => {
    const part = begins.findLastIndex((begin) => begin <= at);
    return { part, offset: at - (begins[part] as number) };
  };
  return {
    like,
    parts: parts.map((part) => Buffer.from(part, "latin1")),
    marks: {
      epAt: markOf(scan.epAt),
      seqAt: markOf(scan.seqAt),
      kindAt: markOf(scan.kindAt),
      ridAt: markOf(scan.ridAt),
    },
  };
}

function putText(text: string, into: Uint8Array, at: number): number {
  for (let no = 0; no < text.length; no++) into[at + no] = text.charCodeAt(no);
  return at + text.length;
}

const BILLION = 1_000_000_000;
const ZERO = 0x30;

function putCount(value: number, into: Uint8Array, at: number): number {
  if (value >= BILLION) {
    const billions = Math.floor(value / BILLION);
    return putDigits(value - billions * BILLION, 9, into, putCount(billions, into, at));
  }
  let digits = 1;
  for (let bound = 10; value >= bound; bound *= 10) digits += 1;
  return putDigits(value, digits, into, at);
}

function putDigits(value: number, digits: number, into: Uint8Array, at: number): number {
  let left = value | 0;
  for (let no = at + digits - 1; no >= at; no--) {
    const tens = (left / 10) | 0;
    into[no] = ZERO + left - 10 * tens;
    left = tens;
  }
  return at + digits;
}
