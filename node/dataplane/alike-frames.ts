import { isUtf8 } from "node:buffer";
import { AGAIN_CHARS_MAX } from "./answer-scan.ts";
import type { AnswerPart, TextPiece, TextPlace } from "./dialects/answer-part.ts";
import type { SseFrame } from "./sse-frames.ts";

/** What a frame says; undefined: it cannot be read. */
export type ReadSaid = (frame: SseFrame) => AnswerPart | undefined;

/**
 * Knows the frames that differ from one that was read in a text alone, as nearly all of a stream do, so that
 * they need no reading: what it takes is most of what a frame costs.
 *
 * A1. A frame is known only if reading it would say what the model said, with its own text in the place of
 *     the model's. Bytes before and after the text are the model's, and the text is a whole JSON string that
 *     is written as it is: no quote, backslash or control character, and UTF-8.
 * A2. Where the text stands in the model is tried and not guessed: with another one in its place, the frame
 *     has to say that one and else the same. It is tried only where it can be that text and nothing else: a
 *     reader keeps what it is told of calls, and must not be told of one that nobody made.
 * A3. A model holds only until a frame says anything else than one text of prose, which may change what later
 *     ones mean. Prose does not: readers promise that. Nor does what names the answer beside it, which stands in each
 *     frame alike and was scanned in the model.
 */
export class AlikeFrames {
  #model: Model | undefined;
  /** Models in a row that no frame was like. */
  #fruitless = 0;

  /** Where the texts stand that `textOf` finds. */
  get place(): TextPlace | undefined {
    return this.#model?.place;
  }

  /** All that a frame says, when it is like the model; undefined: it has to be read. */
  textOf({ bytes }: SseFrame): Uint8Array | undefined {
    if (this.#model === undefined) return undefined;
    const { before, after } = this.#model;
    const end = bytes.length - after.length;
    // An empty text says nothing at all, not even that its channel is the current one.
    if (end <= before.length || !isAt(bytes, 0, before) || !isAt(bytes, end, after)) {
      return undefined;
    }
    const text = plainText(bytes, before.length, end);
    if (text !== undefined) this.#fruitless = 0;
    return text;
  }

  /** Takes a frame that was read, and was not like the model, for the next one if it may be. */
  learn(frame: SseFrame, said: AnswerPart, read: ReadSaid): void {
    const piece = onlyText(said);
    if (piece === undefined) this.#model = undefined;
    // Those whose frames differ in more than a text would be tried in vain, each at the price of a reading.
    else if (this.#fruitless < FRUITLESS_MAX) {
      this.#fruitless += 1;
      this.#model = modelOf(frame, { piece, said }, read) ?? this.#model;
    }
  }
}

type Model = { readonly before: Uint8Array; readonly after: Uint8Array; readonly place: TextPlace };

const FRUITLESS_MAX = 8;
/** Bytes of a frame that becomes a model, at most: it is kept for as long as its stream goes on. */
export const MODEL_BYTES_MAX = 16 * 1024;

const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ASCII_MAX = 0x7f;

/** Letters can stand in JSON nowhere but in a string, where they are what they are. */
const TRIAL = "trial";

function modelOf(
  { bytes, begin }: SseFrame,
  { piece, said }: { readonly piece: TextPiece; readonly said: AnswerPart },
  read: ReadSaid,
): Model | undefined {
  if (bytes.length > MODEL_BYTES_MAX) return undefined;
  const { channel, group, phase, joined, text } = piece;
  const written = Buffer.from(`"${text}"`);
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = all.indexOf(written);
  if (at < 0 || begin > 0 || text === TRIAL) return undefined;
  // Where nothing is escaped the text stands as it is, and the only one that does is it.
  if (all.indexOf(written, at + 1) >= 0 || all.includes(BACKSLASH)) return undefined;
  // Copies: a frame may share its memory with all that was received with it.
  const before = Uint8Array.from(bytes.subarray(0, at + 1));
  const after = Uint8Array.from(bytes.subarray(at + written.length - 1));
  const tried = read({ bytes: Buffer.concat([before, Buffer.from(TRIAL), after]), begin });
  const other = tried === undefined ? undefined : onlyText(tried);
  const isThere =
    other?.text === TRIAL &&
    other.channel === channel &&
    other.group === group &&
    other.phase === phase &&
    other.joined === joined &&
    tried?.aside.join("\n") === said.aside.join("\n");
  return isThere ? { before, after, place: { channel, group, phase, joined } } : undefined;
}

/** The text of a part that says nothing else, but for what it is called. */
function onlyText(part: AnswerPart): TextPiece | undefined {
  const { pieces, aside, toolNames, endedGroups, calls } = part;
  if (aside.some(({ length }) => length > AGAIN_CHARS_MAX)) return undefined;
  const others = toolNames.length + endedGroups.length + calls.length;
  if (pieces.length !== 1 || others > 0 || part.usage !== undefined) return undefined;
  if (part.last || part.ours || part.failed || part.rewritten !== undefined) return undefined;
  const [piece] = pieces;
  return piece?.isProse === true ? piece : undefined;
}

function isAt(bytes: Uint8Array, from: number, part: Uint8Array): boolean {
  for (let index = 0; index < part.length; index++) {
    if (bytes[from + index] !== part[index]) return false;
  }
  return true;
}

function plainText(bytes: Uint8Array, from: number, to: number): Uint8Array | undefined {
  let all = 0;
  for (let index = from; index < to; index++) {
    const byte = bytes[index] as number;
    if (byte < SPACE || byte === QUOTE || byte === BACKSLASH) return undefined;
    all |= byte;
  }
  const text = bytes.subarray(from, to);
  return all <= ASCII_MAX || isUtf8(text) ? text : undefined;
}
