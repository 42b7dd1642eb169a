import type { Verb } from "../../../authority/tools.ts";
import { withoutEscapes } from "../json-escapes.ts";
import type { CallPart } from "./call-part.ts";
import { numberText } from "./collect-texts.ts";
import type { DialectAdapter, JsonValue, ReadRequest, ResponsePart, Usage } from "./dialect.ts";

/** Whether a tool may be used so, or called where no verb is given. */
export type ToolGranted = (name: string, verb?: Verb) => boolean;

/**
 * A stretch of one text that a stream brings piece by piece.
 *
 * A client joins the pieces of one channel, so they are scanned as one text. Channels of one group
 * (a choice, a content block) and one phase run side by side; a text of a later phase means that
 * those of the earlier ones are complete: a model writes its content, then its first tool call, then
 * the second.
 */
export type TextPiece = TextPlace & {
  readonly text: string;
  /** JSON text, such as a call's arguments: it is scanned as a client will read it too. */
  readonly isJson?: true;
  /**
   * Words of the model, a string of the frame as it is, which the reader keeps nothing of: how later frames are
   * read does not depend on them, so not each of these has to be.
   */
  readonly isProse?: true;
};

/** Which text a piece is of. */
export type TextPlace = {
  readonly channel: string;
  readonly group: string;
  readonly phase: number;
  /** Of texts that clients put together into one, in the order in which they come: what they call that one. */
  readonly joined?: string | undefined;
};

/** What one frame or one whole answer says, with what a stream's scan has to know beside it. */
export type AnswerPart = ResponsePart & {
  /** One for each of `texts`, in the same order. */
  readonly pieces: readonly TextPiece[];
  /** Texts that are complete in themselves and that no model's text continues. */
  readonly aside: readonly string[];
  /** Groups that get no more text. */
  readonly endedGroups: readonly string[];
  /** What is said of calls that the client is asked to make, in the order of the answer. */
  readonly calls: readonly CallPart[];
  /** A stretch of the answer begins that is no text as clients join them: a call, a thought. */
  readonly beginsOther: boolean;
  /** The provider says that it failed. */
  readonly failed: boolean;
  /** The part as JSON without what is not granted, where it lists tools or what can be read. */
  readonly rewritten: ((granted: ToolGranted) => string) | undefined;
};

/** A dialect whose readers say enough to relay its answers. */
export type RelayDialect = Omit<DialectAdapter, "readAnswer" | "streamReader"> & {
  /** Members of a request that `upstreamBody` reads or sets; it leaves all others alone. */
  readonly settableMembers: readonly string[];
  readAnswer(body: JsonValue, asked?: ReadRequest["answersTo"]): AnswerPart | undefined;
  streamReader(wantsUsage: boolean, asked?: ReadRequest["answersTo"]): AnswerReader;
};

/** The state of one stream. */
export type AnswerReader = {
  /**
   * Undefined: not readable as this dialect.
   *
   * @param kept The name that events had before, which some clients keep for those without one.
   */
  frame(event: string | undefined, data: string, kept?: string): AnswerPart | undefined;
  /** For a dialect without a last frame: whether what came is a whole answer. */
  isWhole?(): boolean;
};

/** An answer part while it is being read. */
export class PartDraft implements AnswerPart {
  readonly texts: string[] = [];
  readonly pieces: TextPiece[] = [];
  readonly aside: string[] = [];
  readonly toolNames: string[] = [];
  readonly endedGroups: string[] = [];
  readonly calls: CallPart[] = [];
  usage: Usage | undefined = undefined;
  last = false;
  ours = false;
  beginsOther = false;
  failed = false;
  rewritten: AnswerPart["rewritten"] = undefined;

  /** Adds a text; an empty one says nothing, not even that its channel is the current one. */
  say(piece: TextPiece): void {
    if (piece.text === "") return;
    this.texts.push(piece.text);
    this.pieces.push(piece);
  }

  /** Adds JSON text that is complete in itself, and what a client will read in it. */
  sayAsideJson(text: string): void {
    this.aside.push(text, withoutEscapes(text));
  }
}

/**
 * Says every string of a value whose shape is not known, each place in it a channel of its own.
 * Names of members and numbers come whole.
 */
export function sayStrings(part: PartDraft, value: JsonValue, at: Omit<TextPiece, "text">): void {
  if (typeof value === "string") {
    const { channel, group, phase, joined } = at;
    part.say({ channel, group, phase, joined, text: value });
  } else if (typeof value === "number") {
    part.aside.push(numberText(value));
  } else if (typeof value === "object" && value !== null) {
    for (const [name, member] of Object.entries(value)) {
      if (!Array.isArray(value) && name !== "") part.aside.push(name);
      sayStrings(part, member, { ...at, channel: `${at.channel}.${name}` });
    }
  }
}
