import { AlikeFrames, type ReadSaid } from "./alike-frames.ts";
import { CallJudge } from "./call-judge.ts";
import type { ClientLeg } from "./client-leg.ts";
import type { AnswerPart, AnswerReader, TextPlace } from "./dialects/answer-part.ts";
import { HoldBack } from "./hold-back.ts";
import { RELAY_LIMITS } from "./relay-limits.ts";
import { readFrame, type SseFrame, SseFrames, type SseWords } from "./sse-frames.ts";
import { hasOneReading } from "./sse-one-reading.ts";

/** Names of events that were scanned and are clean. A provider has a handful. */
const EVENT_NAMES_MAX = 32;

/**
 * Relays a stream frame by frame, byte-identical, holding back what may be forbidden.
 *
 * R1. A frame is read, its tools judged with their arguments, its texts scanned and metered before any
 *     of it is released.
 * R2. Nothing of a frame that is objected to is written, nor of those that still waited before it.
 *     What was clear before is: the output does not depend on how the bytes came in chunks.
 * R3. A stream that ends without its dialect's own end is cut: a client must not take it for one.
 */
export class SseRelay {
  readonly #leg: ClientLeg;
  readonly #reader: AnswerReader;
  readonly #headers: readonly string[];
  readonly #frames = new SseFrames(RELAY_LIMITS);
  readonly #alike = new AlikeFrames();
  readonly #held = new HoldBack();
  readonly #calls: CallJudge | undefined;
  readonly #cleanEvents = new Set<string>();
  #released: Uint8Array[] = [];
  /** The frame before was ours, and so was not passed on. */
  #leftOut = false;
  #complete = false;
  /** The last name of an event. */
  #keptName: string | undefined;

  /** @param headers Flat name, value, ...: those of the provider that are passed on. */
  constructor(leg: ClientLeg, headers: readonly string[]) {
    const { dialect, wantsUsage, argumentRules, answersTo } = leg.input;
    if (argumentRules !== undefined) this.#calls = new CallJudge(argumentRules);
    this.#leg = leg;
    this.#reader = dialect.streamReader(wantsUsage, answersTo);
    this.#headers = [...headers, "cache-control", "no-cache"];
    leg.input.exchange.markStreaming();
    // Nobody knows when its first event comes, and its client waits for the head.
    if (leg.input.openEnded === true) leg.begin(200, this.#headers);
  }

  data(chunk: Uint8Array): boolean {
    if (this.#leg.objectToKill()) return false;
    for (const frame of this.#frames.push(chunk)) {
      if (!this.#take(frame)) return false;
    }
    if (this.#frames.fault !== undefined && !this.#complete) {
      this.#flush();
      this.#leg.object("response_unscannable");
      return false;
    }
    return this.#flush();
  }

  end(): void {
    // What has waited until now would be released by the end.
    if (!this.#complete && this.#leg.objectToKill()) return;
    const rest = this.#frames.end();
    if (rest !== undefined && !this.#take(rest)) return;
    const isWhole = this.#leg.input.openEnded === true || this.#reader.isWhole?.() === true;
    if (!this.#complete && isWhole && !this.#endWhole()) return;
    this.#flush();
    if (this.#complete) this.#leg.finish();
    else this.#leg.object("upstream_failed");
  }

  /** The end of an answer whose dialect has no last frame. False: it may not be released. */
  #endWhole(): boolean {
    const { scan } = this.#leg;
    scan.end();
    if (scan.objection !== undefined) return this.#object(() => this.#leg.objectToScan());
    this.#held.pass(NO_BYTES, [], this.#release);
    this.#complete = true;
    return true;
  }

  /** The dialect's end has been relayed: a connection that breaks off now breaks off nothing. */
  get complete(): boolean {
    return this.#complete || this.#leg.input.openEnded === true;
  }

  /** False: the answer is over. */
  #take(frame: SseFrame): boolean {
    if (this.#complete) {
      // After the dialect's end only what completes its line end is of use to anyone.
      if (frame.bytes.length === 1) this.#released.push(frame.bytes);
      return true;
    }
    if (this.#judge(frame) && this.#held.bytes <= RELAY_LIMITS.heldBytesMax) return true;
    this.#flush();
    if (!this.#leg.over) this.#leg.object("response_unscannable");
    return false;
  }

  /** Reads a frame and puts it among those that wait. False: it may not be released. */
  #judge(frame: SseFrame): boolean {
    const text = this.#alike.textOf(frame);
    if (text !== undefined) return this.#judgeText(frame, text, this.#alike.place as TextPlace);
    const words = readFrame(frame);
    const part = words && this.#read(words);
    if (words === undefined || part === undefined) return false;
    this.#alike.learn(frame, part, this.#readAgain);
    return this.#judgePart(frame, words, part);
  }

  #read(words: SseWords): AnswerPart | undefined {
    const kept = this.#keptName;
    if (!hasOneReading(words, kept)) return undefined;
    const { event, data } = words;
    this.#keptName = event ?? kept;
    return data === undefined ? SAYS_NOTHING : this.#reader.frame(event, data, kept);
  }

  /** All that a frame says; undefined for one that says more than its data. */
  readonly #readAgain: ReadSaid = (frame) => {
    const words = readFrame(frame);
    return words?.rest === "" ? this.#read(words) : undefined;
  };

  /** The same for a frame that says one text and nothing else. */
  #judgeText(frame: SseFrame, text: Uint8Array, place: TextPlace): boolean {
    const { scan } = this.#leg;
    const waits = scan.readText(place, text);
    if (scan.objection !== undefined) return this.#object(() => this.#leg.objectToScan());
    this.#leg.addUncounted(text.length);
    if (this.#isSpent()) return false;
    this.#held.pass(frame.bytes, waits, this.#release);
    this.#leftOut = false;
    return true;
  }

  #judgePart(frame: SseFrame, { event, data, rest }: SseWords, part: AnswerPart): boolean {
    const { scan, input } = this.#leg;
    if (rest !== "") scan.whole(rest);
    this.#scanEvent(event);
    this.#leg.addUsage(part.usage);
    // An answer to nothing that was asked here; nobody could say whose it is.
    if (part.last && input.openEnded === true) return false;
    if (part.failed) return this.#object(() => this.#leg.object("upstream_failed"));
    const before = scan.textBytes;
    const texts = scan.read(part);
    scan.readRounded(part, () => data ?? "");
    const calls = this.#calls?.read(part.calls) ?? [];
    const waits = calls.length === 0 ? texts : [...texts, ...calls];
    if (part.last) scan.end();
    if (part.last) this.#calls?.end();
    // The scan comes first: a refused tool is named to people, so its name has to be clean.
    if (scan.objection !== undefined) return this.#object(() => this.#leg.objectToScan());
    // Members that say what something is called are no text, and show it all the same.
    if (this.#leg.showsCredential(frame.bytes)) {
      return this.#object(() => this.#leg.object("credential_in_response"));
    }
    const refused = part.toolNames.find((name) => !input.toolGranted(name));
    if (refused !== undefined) {
      return this.#object(() => this.#leg.object("tool_call_not_granted", refused));
    }
    const objection = this.#calls?.objection;
    if (objection !== undefined) {
      return this.#object(() => this.#leg.objectToCall(objection));
    }
    if (scan.textBytes > before) {
      if (part.usage === undefined) this.#leg.addUncounted(scan.textBytes - before);
      else input.meter.onText(scan.textBytes - before);
      if (this.#isSpent()) return false;
    }
    // A line feed alone may be the rest of the line end of the frame that was left out.
    const leftOut = part.ours || (this.#leftOut && frame.bytes.length === 1);
    if (part.rewritten !== undefined) {
      const own = `event: message\ndata: ${part.rewritten((name, verb) => input.toolGranted(name, verb))}\n\n`;
      this.#held.pass(Buffer.from(own), waits, this.#release);
    } else if (leftOut) this.#held.pass(NO_BYTES, waits, this.#release);
    else this.#held.pass(frame.bytes, waits, this.#release);
    this.#leftOut = part.ours;
    this.#complete = part.last;
    return true;
  }

  /** True: the answer has cost what is held for it, and was ended. */
  #isSpent(): boolean {
    if (!this.#leg.input.meter.spent()) return false;
    this.#object(() => this.#leg.object("hold_spent"));
    return true;
  }

  readonly #release = (bytes: Uint8Array): void => {
    this.#released.push(bytes);
  };

  /** What was released before goes out, what waits never will, then the answer is ended. */
  #object(end: () => void): false {
    this.#flush();
    end();
    return false;
  }

  #scanEvent(event: string | undefined): void {
    if (event === undefined || this.#cleanEvents.has(event)) return;
    this.#leg.scan.whole(event);
    if (this.#cleanEvents.size < EVENT_NAMES_MAX) this.#cleanEvents.add(event);
  }

  /** False: the client takes no more for now. */
  #flush(): boolean {
    const released = this.#released;
    this.#released = [];
    if (released.length === 0) return true;
    this.#leg.begin(200, this.#headers);
    return this.#leg.write(joined(released));
  }
}

function joined(frames: readonly Uint8Array[]): Uint8Array {
  return frames.length === 1 ? (frames[0] as Uint8Array) : Buffer.concat(frames);
}

/** In place of a frame that is left out: what waits is looked at all the same. */
const NO_BYTES = new Uint8Array(0);

const SAYS_NOTHING: AnswerPart = {
  texts: [],
  pieces: [],
  aside: [],
  toolNames: [],
  endedGroups: [],
  calls: [],
  usage: undefined,
  last: false,
  ours: false,
  beginsOther: false,
  failed: false,
  rewritten: undefined,
};
