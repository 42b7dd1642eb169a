import type { PassedBytes } from "../../audit/record.ts";
import { REASONS, type Reason } from "../../proto/reasons.ts";
import type { ContentHit } from "../decision/facts.ts";
import { type AnswerRules, AnswerScan, type Objection } from "./answer-scan.ts";
import type { ArgumentRulesNow, CallObjection } from "./call-judge.ts";
import type { RelayDialect, ToolGranted } from "./dialects/answer-part.ts";
import type { Usage } from "./dialects/dialect.ts";
import { mergeUsage } from "./dialects/usage.ts";
import type { Answer, Exchange } from "./exchange.ts";
import { showsSecret } from "./key-material.ts";
import { RELAY_LIMITS } from "./relay-limits.ts";
import type { UpstreamHandle } from "./upstream-leg.ts";

/** Counts the cost of an answer while it passes. */
export type Meter = {
  /** Bytes of text that a model wrote, as they come. */
  onText(bytes: number): void;
  /** All that was reported so far. */
  onUsage(usage: Usage): void;
  /** Whether the cost has reached the hold. */
  spent(): boolean;
};

/** How an answer ended; told once. */
export type Outcome = {
  /**
   * `done`: relayed whole, errors of the provider included. `cut`: ended from our side.
   * `client_gone`: nobody is left to relay to. `upstream_failed`: the provider, or the way to it.
   */
  readonly kind: "done" | "cut" | "client_gone" | "upstream_failed";
  /** Undefined when it is done. */
  readonly reason: Reason | undefined;
  /** The content rule that decided, the tool that is not granted, or its argument that may not be so. */
  readonly rule: string | undefined;
  readonly usage: Usage | undefined;
  /** What it was allowed by no longer holds, through nothing that its agent did. */
  readonly isWithdrawn?: true;
  /** Text came after the last report, so `usage` is of a part of the answer. */
  readonly hasUncounted?: true;
  /** The far side has refused to open what was asked for, and so did nothing. */
  readonly isUnopened?: true;
  /** Of what was carried unread: how much it was. */
  readonly bytes?: PassedBytes;
  /** Bytes of text that a model wrote. */
  readonly outputTextBytes: number;
  readonly scannedBytes: number;
  readonly hits: readonly ContentHit[];
  /** Status that the client was sent; 0 when it was sent none. */
  readonly status: number;
  /** False: the provider has seen nothing of the request, so it cannot bill it. */
  readonly sent: boolean;
};

export type RelayInput = {
  readonly exchange: Exchange;
  readonly dialect: RelayDialect;
  /** The client asked for a stream. */
  readonly stream: boolean;
  /** The client asked for usage in its stream. */
  readonly wantsUsage: boolean;
  readonly rules: AnswerRules;
  readonly toolGranted: ToolGranted;
  /** Absent: policy has none, so no call is waited for. */
  readonly argumentRules?: ArgumentRulesNow;
  /** The answer is a stream without an end of its own: any end of it is one. */
  readonly openEnded?: boolean;
  /** What the client is given for the id of a session at the server. */
  readonly sessionGiven?: (id: string) => string;
  /** What the answer has to name, as the request has it. */
  readonly answersTo?: string | number;
  /** A look at the scope cells, taken at every chunk: why the answer has to end, if it has to. */
  readonly killedNow?: () => Reason | undefined;
  readonly meter: Meter;
  /** An answer that is one document is kept whole, and so bounded. */
  readonly answerBytesMax: number;
  /** Flat name, value, ...: what every answer of ours carries. */
  readonly headers: readonly string[];
  /** The answer in place of one that has not begun. */
  readonly refusal: (reason: Reason, rule: string | undefined) => Answer;
  /** Takes key material out of a provider's words. */
  readonly scrub: (text: string) => string;
  /** The credential that the request went with, as `shownSecret` has it: what no answer may show. */
  readonly secret?: string | undefined;
  readonly onOutcome: (outcome: Outcome) => void;
};

/** What stands between the provider and whoever reads its answer. */
export type Decoder = {
  /** The client takes more again. */
  resume(): void;
  /** Nobody reads any more. */
  close(): void;
};

type End = Pick<Outcome, "kind" | "reason" | "rule">;

/**
 * The client's side of one relayed answer: what was begun, and how it ends.
 *
 * Whoever comes first ends it: the answer's own end, an objection, a kill, the client. The outcome
 * is told once, after which every call does nothing.
 */
export class ClientLeg {
  readonly input: RelayInput;
  readonly scan: AnswerScan;
  #upstream: UpstreamHandle | undefined;
  #decoder: Decoder | undefined;
  #usage: Usage | undefined;
  #hasUncounted = false;
  #status = 0;
  #begun = false;
  #over = false;

  constructor(input: RelayInput) {
    const { exchange } = input;
    this.input = input;
    const { channelsMax } = RELAY_LIMITS;
    this.scan = new AnswerScan(input.rules, { channelsMax, secret: input.secret });
    exchange.onDrain(() => {
      if (this.#decoder === undefined) this.resumeProvider();
      else this.#decoder.resume();
    });
    exchange.onGone(() => {
      // The kernel may have ended its connection before word of the kill came here.
      if (!this.objectToKill())
        this.#end({ kind: "client_gone", reason: "client_gone", rule: undefined });
    });
    exchange.onCut((cut) => this.object(cut.by === "reason" ? cut.reason : `killed_${cut.by}`));
  }

  get over(): boolean {
    return this.#over;
  }

  attach(upstream: UpstreamHandle): void {
    this.#upstream = upstream;
    if (this.#over) upstream.abort();
  }

  /** From here on what the client has room for comes from a decoder, and not from the provider. */
  decodeBy(decoder: Decoder): void {
    this.#decoder = decoder;
  }

  resumeProvider(): void {
    this.#upstream?.resume();
  }

  /** A bug of ours while nobody called: it ends this answer, and no more than this one. */
  fault(error: unknown): void {
    if (this.#upstream === undefined) throw error;
    this.#upstream.fault(error);
  }

  addUsage(usage: Usage | undefined): void {
    if (usage === undefined) return;
    this.#hasUncounted = false;
    this.#usage = mergeUsage(this.#usage, usage);
    this.input.meter.onUsage(this.#usage as Usage);
  }

  /** Text passed that no report has counted yet. */
  addUncounted(bytes: number): void {
    this.#hasUncounted = true;
    this.input.meter.onText(bytes);
  }

  /** Begins an answer that is written piece by piece. */
  begin(status: number, headers: readonly string[]): void {
    if (this.#over || this.#begun) return;
    this.#begun = true;
    this.#status = status;
    this.input.exchange.begin(status, [...this.input.headers, ...headers]);
  }

  /** False: the client takes no more for now. */
  write(bytes: Uint8Array): boolean {
    return this.#over || this.input.exchange.write(bytes);
  }

  /** Ends an answer that was begun. */
  finish(): void {
    if (this.#over) return;
    this.input.exchange.end();
    this.#end({ kind: "done", reason: undefined, rule: undefined });
  }

  /** The whole answer at once. */
  answer(status: number, headers: readonly string[], body: Uint8Array): void {
    if (this.#over) return;
    this.#status = status;
    this.input.exchange.answer({ status, headers: [...this.input.headers, ...headers], body });
    this.#end({ kind: "done", reason: undefined, rule: undefined });
  }

  /** Ends what may not go on: with a refusal where nothing was begun, else with a cut. */
  object(reason: Reason, rule?: string): void {
    if (this.#over) return;
    const { exchange, dialect } = this.input;
    if (this.#begun) {
      const { status, developer: message } = REASONS[reason];
      const words = { reason, message, requestId: exchange.requestId, status, ...this.#answersTo };
      exchange.cut(dialect.cutFrame(words));
    } else if (this.#status !== 0) {
      // Its only answer failed while it was said.
      exchange.cut(undefined);
    } else {
      const answer = this.input.refusal(reason, rule);
      this.#status = answer.status;
      exchange.answer(answer);
    }
    const kind = UPSTREAM_REASONS.has(reason) ? "upstream_failed" : "cut";
    this.#end({ kind, reason, rule });
  }

  /** A kill that the cells show already, before word of it comes. True: there is one. */
  objectToKill(): boolean {
    const reason = this.input.killedNow?.();
    if (reason === undefined) return false;
    this.object(reason);
    return true;
  }

  /** The scan's objection, if it has one. True: it had. */
  objectToScan(): boolean {
    const objection: Objection | undefined = this.scan.objection;
    if (objection === undefined) return false;
    this.object(objection.reason, objection.reason === "content_cut" ? objection.rule : undefined);
    return true;
  }

  /** A server that says what it was sent would hand its key to the agent. */
  showsCredential(bytes: Uint8Array): boolean {
    const { secret } = this.input;
    return secret !== undefined && showsSecret(bytes, secret);
  }

  objectToCall(objection: CallObjection): void {
    this.object(objection.reason, "rule" in objection ? objection.rule : undefined);
  }

  get #answersTo(): Pick<RelayInput, "answersTo"> {
    const { answersTo } = this.input;
    return answersTo === undefined ? {} : { answersTo };
  }

  #end(end: End): void {
    if (this.#over) return;
    this.#over = true;
    this.#decoder?.close();
    if (end.kind !== "done") this.#upstream?.abort();
    const outcome: Outcome = {
      kind: end.kind,
      reason: end.reason,
      rule: end.rule,
      usage: this.#usage,
      outputTextBytes: this.scan.textBytes,
      scannedBytes: this.scan.scannedBytes,
      hits: this.scan.hits,
      status: this.#status,
      sent: this.#upstream?.sent ?? false,
    };
    const isPart = this.#hasUncounted && this.#usage !== undefined;
    this.input.onOutcome(isPart ? { ...outcome, hasUncounted: true } : outcome);
  }
}

const UPSTREAM_REASONS: ReadonlySet<Reason> = new Set([
  "upstream_unreachable",
  "upstream_timeout",
  "upstream_failed",
  "credential_unavailable",
]);
