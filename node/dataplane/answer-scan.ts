import type { ContentHit } from "../decision/facts.ts";
import type { AnswerPart, TextPiece, TextPlace } from "./dialects/answer-part.ts";
import { JsonEscapes, withoutEscapes } from "./json-escapes.ts";
import type { ScanSet } from "./scan/compile-rules.ts";
import { createScanner, type Hit, type Scanner } from "./scan/scan-stream.ts";
import { SecretMatch, SecretPattern } from "./secret-match.ts";

/** What an answer is scanned with. */
export type AnswerRules = {
  readonly set: ScanSet;
  /** Whether a hit of this rule ends the answer; other hits are only reported. */
  refuses(ruleId: string): boolean;
};

/** Why an answer may not go on. */
export type Objection =
  | { readonly reason: "content_cut"; readonly rule: string }
  | { readonly reason: "credential_in_response" }
  | { readonly reason: "response_unscannable"; readonly detail: string };

/** A place in one text that a frame waits for. */
export type Wait = { readonly channel: Channel; readonly end: number };

/**
 * Scans the texts of one answer, each channel as one text however its pieces come.
 *
 * S1. A frame is clear when no match that is still possible begins before the end of its texts.
 * S2. A text of a later phase ends the channels of its group that could still match; a channel that
 *     was ended so must not go on. Otherwise its end, which `$` and `\b` saw, was none.
 * S3. JSON text is scanned twice, as it is written and as a client will read it once it has parsed it: an
 *     escape hides nothing, wherever it is cut.
 * S4. Texts that clients join are scanned as one as well, whatever comes between them. What may still become a match
 *     across two of them waits, until something else than such a text is begun or said: a call is not held up for it.
 * S5. The credential that the request went with is looked for as a match of a rule is: in each text, across its pieces.
 */
export class AnswerScan {
  readonly #rules: AnswerRules;
  readonly #channelsMax: number;
  readonly #secret: string | undefined;
  #pattern: SecretPattern | undefined;
  // Answers that are one document have no channels.
  #channels: Map<string, Channel> | undefined;
  #groups: Map<string, Channel[]> | undefined;
  /** By what clients call the joined text. */
  #joined: Map<string, Joined> | undefined;
  /** Short texts that nothing continues. */
  #scanned: Set<string> | undefined;
  #reported: Map<string, ContentHit> | undefined;
  #objection: Objection | undefined;
  #textBytes = 0;
  #scannedBytes = 0;

  /** @param of.secret What no text may show, as `shownSecret` has it. */
  constructor(
    rules: AnswerRules,
    of: { readonly channelsMax: number; readonly secret?: string | undefined },
  ) {
    this.#rules = rules;
    this.#channelsMax = of.channelsMax;
    this.#secret = of.secret;
  }

  /** Bytes of text that a model wrote. */
  get textBytes(): number {
    return this.#textBytes;
  }

  get scannedBytes(): number {
    return this.#scannedBytes;
  }

  /** One hit for each rule that hit, in the order in which they did. */
  get hits(): readonly ContentHit[] {
    return this.#reported === undefined ? NO_HITS : [...this.#reported.values()];
  }

  /** The first objection; what came with it must not be released, nor anything after. */
  get objection(): Objection | undefined {
    return this.#objection;
  }

  /** Scans a part of a stream; the places that have to be clear before its frame is released. */
  read(part: AnswerPart): readonly Wait[] {
    const waits: Wait[] = [];
    if (part.beginsOther) this.#letJoinedGo();
    for (const piece of part.pieces) {
      if (!this.#push(piece, Buffer.from(piece.text), waits)) return waits;
      if (piece.isJson === true) this.#readJson(piece, waits);
    }
    for (const text of part.aside) this.#wholeOnce(text);
    for (const group of part.endedGroups) this.#endGroup(group);
    return waits;
  }

  /** Scans the one text of a part that says nothing else. */
  readText(place: TextPlace, bytes: Uint8Array): readonly Wait[] {
    const waits: Wait[] = [];
    this.#push(place, bytes, waits);
    return waits.every(({ channel, end }) => channel.isClear(end)) ? NO_WAITS : waits;
  }

  /** False: it is objected to. */
  #push(place: TextPlace, bytes: Uint8Array, waits: Wait[]): boolean {
    const channel = this.#channelOf(place);
    if (channel === undefined) return false;
    this.#settleOthers(place);
    this.#textBytes += bytes.length;
    this.#scannedBytes += bytes.length;
    this.#pushTo(channel, bytes);
    waits.push({ channel, end: channel.length });
    if (place.joined !== undefined) this.#join(place.joined, channel, bytes, waits);
    else this.#letJoinedGo();
    return true;
  }

  #letJoinedGo(): void {
    for (const { all } of this.#joined?.values() ?? []) all.letGo();
  }

  #join(name: string, channel: Channel, bytes: Uint8Array, waits: Wait[]): void {
    this.#joined ??= new Map();
    const joined = this.#joined.get(name);
    if (joined === undefined) {
      channel.goesOn = true;
      this.#joined.set(name, { all: channel, last: channel });
      return;
    }
    const { all, last } = joined;
    // One after the other: what went on behind another one would not be joined as it came.
    if (last !== channel) this.#note(last.end());
    joined.last = channel;
    if (all === channel) return;
    this.#pushTo(all, bytes);
    waits.push({ channel: all, end: all.length });
  }

  #pushTo(channel: Channel, bytes: Uint8Array): void {
    this.#note(channel.push(bytes));
    if (channel.showsSecret) this.#object({ reason: "credential_in_response" });
  }

  /** Scans an answer that is complete: each of its texts is one. */
  readWhole(part: AnswerPart): void {
    for (const { text, isJson } of part.pieces) {
      this.#textBytes += this.whole(text);
      if (isJson === true) this.whole(withoutEscapes(text));
    }
    for (const text of part.aside) this.whole(text);
    if (part.pieces.length > 1) for (const text of joinedTexts(part.pieces)) this.whole(text);
  }

  /** What names things comes again and again, and was scanned. */
  #wholeOnce(text: string): void {
    if (text.length > AGAIN_CHARS_MAX) {
      this.whole(text);
      return;
    }
    this.#scanned ??= new Set();
    if (this.#scanned.has(text)) return;
    this.whole(text);
    if (this.#scanned.size < AGAIN_MAX) this.#scanned.add(text);
  }

  /** Scans a text that nothing continues. Returns how many bytes it has. */
  whole(text: string): number {
    const bytes = Buffer.from(text);
    this.#scannedBytes += bytes.length;
    this.#note(createScanner(this.#rules.set).last(bytes));
    const secret = this.#secret;
    if (secret !== undefined && text.length >= secret.length && text.includes(secret)) {
      this.#object({ reason: "credential_in_response" });
    }
    return bytes.length;
  }

  /**
   * Scans the integers of a document that no number of ours holds: the reader's are rounded, and clients of other
   * languages read every digit. Looked for only where the part has such a number.
   */
  readRounded({ aside }: AnswerPart, document: () => string): void {
    if (!aside.some(isRounded)) return;
    const written = document().match(LONG_INTEGER) ?? [];
    // Nothing of a number goes on beyond a comma.
    if (written.length > 0) this.whole(written.join(","));
  }

  /** The answer is complete: what waited for more is decided. */
  end(): void {
    for (const channel of this.#channels?.values() ?? []) {
      channel.goesOn = false;
      this.#note(channel.end());
    }
  }

  /** The text beside the written one, in a channel of its own. */
  #readJson({ channel: written, group, phase, text }: TextPiece, waits: Wait[]): void {
    const channel = this.#channelOf({ channel: `${written}\\`, group, phase });
    if (channel === undefined) return;
    this.#pushTo(channel, Buffer.from(channel.escapes.push(text)));
    // A frame that ends within a character waits for that character.
    waits.push({ channel, end: channel.length + (channel.escapes.isMid ? 1 : 0) });
  }

  #channelOf(piece: TextPlace): Channel | undefined {
    this.#channels ??= new Map();
    const known = this.#channels.get(piece.channel);
    if (known !== undefined) {
      if (!known.ended) return known;
      this.#object({ reason: "response_unscannable", detail: "a text went on after its end" });
      return undefined;
    }
    if (this.#channels.size >= this.#channelsMax) {
      this.#object({ reason: "response_unscannable", detail: "too many texts side by side" });
      return undefined;
    }
    const channel = new Channel(createScanner(this.#rules.set), piece.phase, this.#secretMatch());
    this.#channels.set(piece.channel, channel);
    this.#groups ??= new Map();
    const group = this.#groups.get(piece.group);
    if (group === undefined) this.#groups.set(piece.group, [channel]);
    else group.push(channel);
    return channel;
  }

  #secretMatch(): SecretMatch | undefined {
    if (this.#secret === undefined) return undefined;
    this.#pattern ??= new SecretPattern(this.#secret);
    return new SecretMatch(this.#pattern);
  }

  #settleOthers({ group, phase }: TextPlace): void {
    for (const channel of this.#groups?.get(group) ?? []) {
      if (channel.phase !== phase && !channel.isClear()) this.#note(channel.end());
    }
  }

  #endGroup(group: string): void {
    for (const channel of this.#groups?.get(group) ?? []) this.#note(channel.end());
  }

  #note(hits: readonly Hit[]): void {
    for (const { id, end } of hits) {
      this.#reported ??= new Map();
      if (!this.#reported.has(id)) this.#reported.set(id, { ruleId: id, end });
      if (this.#rules.refuses(id)) this.#object({ reason: "content_cut", rule: id });
    }
  }

  #object(objection: Objection): void {
    this.#objection ??= objection;
  }
}

/** Texts that clients join. The channel of the first one goes on as all of them. */
type Joined = { readonly all: Channel; last: Channel };

/** What clients make of more than one text. */
function joinedTexts(pieces: readonly TextPiece[]): readonly string[] {
  const texts = new Map<string, string[]>();
  for (const { joined, text } of pieces) {
    if (joined === undefined) continue;
    const known = texts.get(joined);
    if (known === undefined) texts.set(joined, [text]);
    else known.push(text);
  }
  return [...texts.values()].filter(({ length }) => length > 1).map((all) => all.join(""));
}

/** Of texts, which may be long, those are looked at alone that begin as numbers do. */
function isRounded(text: string): boolean {
  const first = text.charCodeAt(0);
  const isNumber = first === MINUS || (first >= ZERO && first <= NINE);
  return isNumber && ROUNDED.test(text);
}

const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
/** 2^53 has sixteen digits, and what has more than twenty-one is written with an exponent. */
const ROUNDED = /(?<![0-9.])[0-9]{16}|[0-9]e\+/;
const LONG_INTEGER = /(?<![0-9.])[0-9]{16,}(?![0-9.eE])/g;

/** Texts of a stream that are known when they come again, and how long such a one is: as an id or a type. */
const AGAIN_MAX = 64;
export const AGAIN_CHARS_MAX = 64;

const NO_WAITS: readonly Wait[] = [];
const NO_HITS: readonly ContentHit[] = [];

/** One text, piece by piece. */
class Channel {
  readonly phase: number;
  /** Others follow it, which clients put behind it. */
  goesOn = false;
  readonly #scanner: Scanner;
  readonly #secret: SecretMatch | undefined;
  #escapes: JsonEscapes | undefined;
  #length = 0;
  #ended = false;
  #isOver = false;
  #letGoTo = 0;

  constructor(scanner: Scanner, phase: number, secret: SecretMatch | undefined) {
    this.#scanner = scanner;
    this.#secret = secret;
    this.phase = phase;
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** What JSON text was cut in the midst of. */
  get escapes(): JsonEscapes {
    this.#escapes ??= new JsonEscapes();
    return this.#escapes;
  }

  /** No more comes of the text that it began as. */
  get ended(): boolean {
    return this.#ended;
  }

  get showsSecret(): boolean {
    return this.#secret?.isFound === true;
  }

  push(bytes: Uint8Array): readonly Hit[] {
    this.#length += bytes.length;
    this.#secret?.push(bytes);
    return this.#scanner.push(bytes);
  }

  end(): readonly Hit[] {
    if (this.#isOver || (this.#ended && this.goesOn)) return [];
    this.#ended = true;
    if (this.goesOn) return this.#scanner.hitsAtEnd();
    this.#isOver = true;
    return this.#scanner.end();
  }

  /** What has come so far waits for no other text any more. */
  letGo(): void {
    if (this.#ended) this.#letGoTo = this.#length;
  }

  /** Whether no match that is still possible begins before the offset. */
  isClear(offset = this.#length): boolean {
    if (this.#isOver || offset <= this.#letGoTo) return true;
    if (offset > this.#length) return false;
    const begunBytes = this.#secret?.begunBytes ?? 0;
    if (begunBytes > 0 && this.#length - begunBytes < offset) return false;
    const pending = this.#scanner.pendingFrom();
    return pending === undefined || pending >= offset;
  }
}
