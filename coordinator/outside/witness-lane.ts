// One witness outside of the mesh, and what is brought to it.
//
// L1. It is asked about few logs at a time, whoever has waited longest first; while it does not answer, about one.
// L2. What it says to one log holds up no other, a fault of its own (5xx) included: such programs answer it to one bad
//     signature. That it cannot be reached holds up this witness alone.
// L3. From where it is asked is where it said that it is. It may be anywhere: others bring it copies of the same log.

import { createHash } from "node:crypto";
import type { WitnessPlace } from "../../audit/log-policy.ts";
import { NOTE_BYTES_MAX } from "../../audit/signed-note.ts";
import { readWitnessAnswer, type WitnessHeard } from "../../audit/witness-answer.ts";
import type { CallWitness } from "../../ports/call-witness.ts";
import { type Clock, monoMs } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { backoffMs } from "../../ports/pause.ts";
import type { BroughtLog, Candidate, Contradiction } from "./brought-log.ts";
import { witnessUrls } from "./outside-file.ts";

/** Logs about which a witness is asked at a time. */
export const ASKED_AT_ONCE_MAX = 4;
/** From the name's resolution to the last byte of the answer. */
export const ANSWER_MS_MAX = 10_000;
/** A witness that has not answered for so long is told. */
export const SILENT_MS = 60_000;
/** A log of which a witness has seen more than is here: another coordinator's copy may be ahead for so long. */
export const AHEAD_MS_MAX = 120_000;
/** Questions about one log that follow each other at once. */
const TURNS_MAX = 4;
const SILENT_RETRY_MS = { min: 1_000, max: 300_000 };
/** Between two questions while it answers with faults of its own. */
const FAULTY_PAUSE_MS = 1_000;
const REFUSED_RETRY_MS = { min: 60_000, max: 3_600_000 };
const ELSEWHERE_RETRY_MS = 5_000;

/** What a witness is to a log. */
export type LogStanding =
  | "waiting"
  | "cosigned"
  /** It was not told of the log. */
  | "unknown"
  | "refused"
  /** It has seen more of the log than is here. */
  | "ahead"
  /** It has seen another log than is here. */
  | "disputed";

/** Outcomes of a question. */
export const OUTCOMES = [
  "cosigned",
  "elsewhere",
  "ahead",
  "unknown",
  "refused",
  "disputed",
  "unanswered",
  "unkept",
  "unprovable",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export type LaneTold = {
  readonly answered: (outcome: Outcome) => void;
  readonly silent: (detail: string) => void;
  readonly answersAgain: () => void;
  /** What a witness is to a log has changed, to something that is not well. */
  readonly unwell: (origin: string, standing: LogStanding, detail: string) => void;
  /** What came of an answer could not be kept, or what lies here not be read. */
  readonly fault: (origin: string, detail: string) => void;
  /** A witness contradicts a log: what it shows, if anything, and what it was asked about. */
  readonly evidence: (of: {
    readonly origin: string;
    readonly contradiction: Contradiction;
    readonly theirs: string;
    readonly offered: string;
  }) => void;
};

/** What was heard, or that there was nothing to hear. */
type Heard = WitnessHeard | { readonly t: "unreached"; readonly detail: string };

type Entry = {
  readonly log: BroughtLog;
  seenSize: number;
  standing: LogStanding;
  isAsked: boolean;
  failures: number;
  notBeforeMs: number;
  /** Since when it waits for this witness; undefined: it does not. */
  waitingMs: number | undefined;
  aheadMs: number | undefined;
};

export class WitnessLane {
  readonly place: WitnessPlace;
  readonly #call: CallWitness;
  readonly #clock: Clock;
  readonly #told: LaneTold;
  readonly #logs = new Map<string, Entry>();
  /** Logs with something to ask, whoever has waited longest first. */
  readonly #queue = new Set<Entry>();
  #asked = 0;
  #failures = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #silentSinceMs: number | undefined;
  #isSilentTold = false;
  #isEnded = false;

  constructor(place: WitnessPlace, call: CallWitness, clock: Clock, told: LaneTold) {
    this.place = place;
    this.#call = call;
    this.#clock = clock;
    this.#told = told;
  }

  /** A log has a candidate that this witness may not have cosigned. */
  want(log: BroughtLog): void {
    const { key } = this.place;
    const entry = this.#logs.get(log.origin) ?? {
      ...{ log, seenSize: log.cosignedBy(key), standing: "waiting", isAsked: false, failures: 0 },
      ...{ notBeforeMs: Number.NEGATIVE_INFINITY, waitingMs: undefined, aheadMs: undefined },
    };
    this.#logs.set(log.origin, entry);
    if (!log.isWaitingFor(key)) {
      entry.standing = "cosigned";
      return;
    }
    const nowMs = monoMs(this.#clock);
    // A copy that was behind may have caught up.
    if (entry.standing === "ahead") {
      entry.notBeforeMs = Math.min(entry.notBeforeMs, nowMs + ELSEWHERE_RETRY_MS);
    }
    entry.waitingMs ??= nowMs;
    this.#queue.add(entry);
  }

  /** Asks nothing more about a log. What it is asked about it now is not kept. */
  forget(origin: string): void {
    const entry = this.#logs.get(origin);
    if (entry === undefined) return;
    this.#logs.delete(origin);
    this.#queue.delete(entry);
  }

  /** Asks about what is due. */
  pump(): void {
    const nowMs = monoMs(this.#clock);
    if (this.#isEnded || nowMs < this.#notBeforeMs) return;
    const most = this.#failures > 0 ? 1 : ASKED_AT_ONCE_MAX;
    for (const entry of this.#queue) {
      if (this.#asked >= most) return;
      if (entry.isAsked || nowMs < entry.notBeforeMs) continue;
      void this.#ask(entry);
    }
  }

  /** Asks nothing more. What is under way ends by itself, and is not kept: another may write by now. */
  stop(): void {
    this.#isEnded = true;
  }

  /** How many logs it is what to, and since when one that it might cosign waits for it, ms. */
  status(): { readonly logs: Readonly<Record<LogStanding, number>>; readonly waitingMs: number } {
    const logs = { waiting: 0, cosigned: 0, unknown: 0, refused: 0, ahead: 0, disputed: 0 };
    const nowMs = monoMs(this.#clock);
    let waitingMs = 0;
    for (const entry of this.#logs.values()) {
      logs[entry.standing]++;
      const isHoped = entry.standing === "waiting" || entry.standing === "cosigned";
      if (!isHoped || entry.waitingMs === undefined) continue;
      waitingMs = Math.max(waitingMs, nowMs - entry.waitingMs);
    }
    return { logs, waitingMs };
  }

  async #ask(entry: Entry): Promise<void> {
    const { candidate } = entry.log;
    if (candidate === undefined) return;
    this.#asked++;
    entry.isAsked = true;
    try {
      await this.#bring(entry, candidate);
    } catch (error) {
      this.#told.fault(entry.log.origin, errorMessage(error));
      this.#later(entry, "unprovable");
    } finally {
      this.#asked--;
      entry.isAsked = false;
      // To the end: others that are due come first.
      this.#queue.delete(entry);
      if (entry.waitingMs !== undefined && this.#has(entry)) this.#queue.add(entry);
      this.pump();
    }
  }

  #has(entry: Entry): boolean {
    return this.#logs.get(entry.log.origin) === entry;
  }

  async #bring(entry: Entry, candidate: Candidate): Promise<void> {
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      const oldSize = Math.min(entry.seenSize, candidate.size);
      const body = entry.log.question(candidate, oldSize);
      if (body === undefined) return this.#later(entry, "unprovable");
      const heard = await this.#hear(entry.log, candidate, body);
      if (this.#isEnded || !this.#has(entry)) return;
      if (heard.t !== "unanswered" && heard.t !== "unreached") this.#answers();
      switch (heard.t) {
        case "cosigned":
          return this.#cosigned(entry, candidate, heard.line);
        case "elsewhere":
          if (heard.size > candidate.size) return this.#isAhead(entry, candidate, heard.size);
          // At the size it named it was asked: then it is the root that differs.
          if (heard.size === oldSize) return this.#dispute(entry, candidate, `409 ${heard.size}`);
          entry.seenSize = heard.size;
          this.#told.answered("elsewhere");
          continue;
        case "inconsistent":
          return this.#dispute(entry, candidate, heard.detail);
        case "unknown":
          return this.#refused(entry, "unknown", "404");
        case "refused":
          return this.#refused(entry, "refused", heard.detail);
        case "unanswered":
          return this.#faulty(entry, heard.detail);
        default:
          return this.#unreached(heard.detail);
      }
    }
    // It is sent to and fro by others who bring copies of the same log.
    entry.notBeforeMs = monoMs(this.#clock) + ELSEWHERE_RETRY_MS;
  }

  async #hear({ origin }: BroughtLog, { text }: Candidate, body: string): Promise<Heard> {
    const { key } = this.place;
    const answerBytesMax = NOTE_BYTES_MAX;
    const ask = { method: "POST", body, answerBytesMax, timeoutMs: ANSWER_MS_MAX } as const;
    try {
      const answer = await this.#call(this.#urls(origin).add, ask);
      return readWitnessAnswer(answer, { key, text, nowMs: this.#clock.nowMs() });
    } catch (error) {
      return { t: "unreached", detail: errorMessage(error) };
    }
  }

  #cosigned(entry: Entry, candidate: Candidate, line: string): void {
    const { key } = this.place;
    entry.seenSize = candidate.size;
    entry.failures = 0;
    entry.aheadMs = undefined;
    try {
      entry.log.cosigned(candidate, key, line);
    } catch (error) {
      this.#told.fault(entry.log.origin, errorMessage(error));
      this.#later(entry, "unkept");
      return;
    }
    entry.standing = "cosigned";
    this.#told.answered("cosigned");
    entry.waitingMs = entry.log.isWaitingFor(key) ? monoMs(this.#clock) : undefined;
  }

  #isAhead(entry: Entry, candidate: Candidate, size: number): Promise<void> | undefined {
    const nowMs = monoMs(this.#clock);
    entry.aheadMs ??= nowMs;
    entry.notBeforeMs = nowMs + ELSEWHERE_RETRY_MS;
    const isLong = nowMs - entry.aheadMs >= AHEAD_MS_MAX;
    this.#told.answered("ahead");
    if (!entry.log.isOwn && !isLong) return undefined;
    return this.#contradicted(entry, candidate, { standing: "ahead", detail: `has seen ${size}` });
  }

  #dispute(entry: Entry, candidate: Candidate, detail: string): Promise<void> {
    this.#told.answered("disputed");
    return this.#contradicted(entry, candidate, { standing: "disputed", detail });
  }

  /** Told once; what it shows of the log is looked at, and kept if it is more than words. */
  async #contradicted(
    entry: Entry,
    { note }: Candidate,
    { standing, detail }: { readonly standing: "ahead" | "disputed"; readonly detail: string },
  ): Promise<void> {
    const { log } = entry;
    entry.notBeforeMs = monoMs(this.#clock) + backoffMs(entry.failures++, REFUSED_RETRY_MS);
    if (entry.standing === standing) return;
    entry.standing = standing;
    this.#told.unwell(log.origin, standing, detail);
    const shown = await this.#latest(log.origin);
    const contradiction = shown === undefined ? "none" : log.judge(shown);
    // Anybody can make what the log has not signed, and as much of it as they like.
    const isSigned = shown !== undefined && contradiction !== "none";
    const theirs = isSigned ? Buffer.from(shown).toString("utf8") : "";
    // A copy that is behind is no evidence against the log that it is a copy of.
    if (standing === "ahead" && (contradiction === "none" || !log.isOwn)) return;
    this.#told.evidence({ origin: log.origin, contradiction, theirs, offered: note });
  }

  async #latest(origin: string): Promise<Uint8Array | undefined> {
    const url = this.#urls(origin).latest;
    const ask = {
      method: "GET",
      answerBytesMax: NOTE_BYTES_MAX,
      timeoutMs: ANSWER_MS_MAX,
    } as const;
    try {
      const { status, body } = await this.#call(url, ask);
      return status === 200 ? body : undefined;
    } catch {
      // It shows nothing, or does so elsewhere: its word is told all the same.
      return undefined;
    }
  }

  #refused(entry: Entry, standing: "unknown" | "refused", detail: string): void {
    this.#told.answered(standing);
    entry.notBeforeMs = monoMs(this.#clock) + backoffMs(entry.failures++, REFUSED_RETRY_MS);
    if (entry.standing === standing) return;
    entry.standing = standing;
    this.#told.unwell(entry.log.origin, standing, detail);
  }

  #later(entry: Entry, outcome: "unkept" | "unprovable"): void {
    this.#told.answered(outcome);
    entry.notBeforeMs = monoMs(this.#clock) + backoffMs(entry.failures++, REFUSED_RETRY_MS);
  }

  #faulty(entry: Entry, detail: string): void {
    const nowMs = monoMs(this.#clock);
    entry.notBeforeMs = nowMs + backoffMs(entry.failures++, SILENT_RETRY_MS);
    this.#failures++;
    this.#silent(nowMs, detail, FAULTY_PAUSE_MS);
  }

  #unreached(detail: string): void {
    const pauseMs = backoffMs(this.#failures++, SILENT_RETRY_MS);
    this.#silent(monoMs(this.#clock), detail, pauseMs);
  }

  #silent(nowMs: number, detail: string, pauseMs: number): void {
    this.#told.answered("unanswered");
    this.#notBeforeMs = nowMs + pauseMs;
    this.#silentSinceMs ??= nowMs;
    if (this.#isSilentTold || nowMs - this.#silentSinceMs < SILENT_MS) return;
    this.#isSilentTold = true;
    this.#told.silent(detail);
  }

  #answers(): void {
    this.#failures = 0;
    this.#silentSinceMs = undefined;
    if (this.#isSilentTold) this.#told.answersAgain();
    this.#isSilentTold = false;
  }

  #urls(origin: string) {
    const hash = createHash("sha256").update(origin).digest("hex");
    return witnessUrls(this.place.url, hash);
  }
}
