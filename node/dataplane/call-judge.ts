import type { CallArguments } from "../../policy/argument-rules.ts";
import { writtenArguments } from "./call-arguments.ts";
import type { CallGiven, CallPart } from "./dialects/call-part.ts";

/** What policy says of the arguments of calls that a model asks its client to make. */
export type ArgumentRulesNow = {
  /** Whether a tool takes certain arguments and no others. */
  has(tool: string): boolean;
  /**
   * The argument that breaks a rule; undefined: all may be so.
   *
   * @param given Undefined: there is no one reading of them.
   */
  refused(tool: string, given: CallArguments | undefined): string | undefined;
};

/** Why an answer may not go on. */
export type CallObjection =
  | { readonly reason: "tool_argument_refused"; readonly rule: string }
  | { readonly reason: "response_unscannable" };

/** A call whose arguments frames wait for. */
export type OpenCall = { readonly isJudged: boolean };

/**
 * Judges the arguments of the calls in one answer. Only those of tools that have rules are waited for.
 *
 * J1. From the first byte of such arguments nothing is clear until they are whole and were judged: a
 *     client acts on what it has.
 * J2. What a client could read in two ways, or cannot be read at all, breaks the rules; and a call goes
 *     on after it was judged in no answer.
 */
export class CallJudge {
  readonly #rules: ArgumentRulesNow;
  readonly #open = new Map<string, Collected>();
  /** By what names each call has begun. */
  readonly #names = new Map<string, readonly string[]>();
  #objection: CallObjection | undefined;

  constructor(rules: ArgumentRulesNow) {
    this.#rules = rules;
  }

  get objection(): CallObjection | undefined {
    return this.#objection;
  }

  /** Takes what a frame says of calls; what it has to wait for before it is released. */
  read(parts: readonly CallPart[]): readonly OpenCall[] {
    const waits: OpenCall[] = [];
    for (const part of parts) {
      const ruled = part.names.filter((name) => this.#rules.has(name));
      if (part.kind === "whole") this.#judge(ruled, part.given);
      else if (part.kind === "end") this.#end(part.call, ruled);
      else {
        const call = this.#collect(part.call, part.given, { ruled, names: part.names });
        if (call !== undefined) waits.push(call);
      }
    }
    return waits;
  }

  /** The answer is complete, and so is every call in it. */
  end(): void {
    for (const [id, { ruled }] of this.#open) this.#end(id, ruled);
  }

  #collect(
    id: string,
    given: CallGiven,
    { ruled, names }: { readonly ruled: readonly string[]; readonly names: readonly string[] },
  ): OpenCall | undefined {
    const known = this.#open.get(id);
    // Arguments of a tool that nobody has named could be those of any.
    if (names.length === 0 || known?.isJudged === true) {
      this.#objection ??= { reason: "response_unscannable" };
      return undefined;
    }
    if (!this.#isStill(id, names)) {
      this.#objection ??= { reason: "response_unscannable" };
      return undefined;
    }
    if (ruled.length === 0) return undefined;
    const call = known ?? new Collected(ruled);
    this.#open.set(id, call);
    call.add(given);
    return call;
  }

  /** False for a call that becomes another tool's in its midst: one client reads it so, one otherwise. */
  #isStill(id: string, names: readonly string[]): boolean {
    const before = this.#names.get(id);
    if (before === undefined) this.#names.set(id, names);
    return before === undefined || before.join("\n") === names.join("\n");
  }

  #end(id: string, named: readonly string[]): void {
    const call = this.#open.get(id) ?? new Collected(named);
    if (call.isJudged || call.ruled.length === 0) return;
    this.#open.set(id, call);
    this.#judge(call.ruled, call.given);
    call.isJudged = true;
  }

  #judge(ruled: readonly string[], given: CallGiven): void {
    if (ruled.length === 0 || this.#objection !== undefined) return;
    const read = writtenArguments(given);
    for (const tool of ruled) {
      const refused = this.#rules.refused(tool, read);
      if (refused === undefined) continue;
      this.#objection = { reason: "tool_argument_refused", rule: `${tool}.${refused}` };
      return;
    }
  }
}

/** A call's arguments as far as they have come. */
class Collected implements OpenCall {
  isJudged = false;
  readonly ruled: readonly string[];
  #text = "";
  #isRaw = false;

  constructor(ruled: readonly string[]) {
    this.ruled = ruled;
  }

  get given(): CallGiven {
    return this.#isRaw ? { isRaw: true } : { text: this.#text };
  }

  /** Its memory is bounded as the frames are that hold it, and wait. */
  add(given: CallGiven): void {
    if ("text" in given) this.#text += given.text;
    else this.#isRaw = true;
  }
}
