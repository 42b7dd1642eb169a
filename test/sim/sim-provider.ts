import type { CallControl, CallHandler, OriginCall } from "../../node/dataplane/origin/call.ts";
import type { UpstreamPools } from "../../node/dataplane/upstream-pools.ts";
import type { Draw } from "./draw.ts";
import type { SimTime } from "./sim-clock.ts";
import type { SimProcess } from "./sim-process.ts";

/** Prices in micro-dollars for a million tokens, as the policy of the world has them. */
export const INPUT_MICROS_PER_MTOK = 5_000_000;
export const OUTPUT_MICROS_PER_MTOK = 25_000_000;

/** What the provider charges for one request: it counts for itself, and forgets nothing. */
export type Bill = {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Millionths of a micro-dollar, so that nothing is rounded. */
  readonly picos: number;
};

export type ProviderConduct = {
  /** Tokens billed for each that there was: 1 for an honest one. */
  readonly overcount: number;
  /** Shares of requests that go wrong, changed as the world's phases change. */
  faults: { unreachable: number; refused: number; broken: number; hanging: number; mute: number };
};

type Ending = "whole" | "refused" | "failed" | "broken" | "hanging";

const CONNECT_MS = { min: 0.5, max: 20 };
/** A first packet that is lost is sent again after a second. */
const SLOW_CONNECT_MS = 1_000;
const SLOW_CONNECT_SHARE = 0.1;
const THINK_MS = { min: 5, max: 1_200 };
const CHUNK_MS = { min: 1, max: 150 };
const CHUNKS_MAX = 6;
/** What the catalogue says that a provider adds to the text, tokens. */
const BESIDE_TEXT_MAX = 64;

/**
 * The provider behind all nodes. It bills whatever it was sent, from the moment it has the head: an
 * answer that nobody waited for costs as much as one that was read to its end.
 */
export class SimProvider {
  readonly #time: SimTime;
  readonly #draw: Draw;
  readonly #conduct: ProviderConduct;
  readonly #onSent: (process: SimProcess, requestId: string, bill: Bill) => void;

  constructor(of: {
    readonly time: SimTime;
    readonly draw: Draw;
    readonly conduct: ProviderConduct;
    readonly onSent: (process: SimProcess, requestId: string, bill: Bill) => void;
  }) {
    this.#time = of.time;
    this.#draw = of.draw;
    this.#conduct = of.conduct;
    this.#onSent = of.onSent;
  }

  /** One node's connections to it. */
  pools(process: SimProcess): UpstreamPools {
    const dispatch = (call: OriginCall, handler: CallHandler): void => {
      if (handler.mayConnect()) this.#connect(process, call, handler);
    };
    return {
      poolFor: () => ({ dispatch }),
      retain: () => undefined,
      close: async () => undefined,
    };
  }

  #connect(process: SimProcess, call: OriginCall, handler: CallHandler): void {
    const control = new SimControl();
    const maxMs = this.#draw.chance(SLOW_CONNECT_SHARE) ? SLOW_CONNECT_MS : CONNECT_MS.max;
    process.clock.after(this.#draw.between(CONNECT_MS.min, maxMs), () => {
      if (this.#draw.chance(this.#conduct.faults.unreachable)) {
        handler.onFault(new Error("connection refused"));
        return;
      }
      if (handler.mayWrite(control)) this.#serve(process, { call, handler, control });
    });
  }

  #serve(
    process: SimProcess,
    of: {
      readonly call: OriginCall;
      readonly handler: CallHandler;
      readonly control: SimControl;
    },
  ): void {
    const body = Buffer.from(of.call.body).toString();
    const asked = JSON.parse(body) as AskedOfProvider;
    const ending = this.#ending();
    const bill = this.#bill(asked, of.call.body.length, ending);
    this.#onSent(process, requestIdOf(asked), bill);
    const say = new Speaker(process, of.handler, of.control);
    const thinkMs = this.#draw.between(THINK_MS.min, THINK_MS.max);
    process.clock.after(thinkMs, () => this.#answer(say, { asked, ending, bill }));
  }

  #ending(): Ending {
    const { refused, broken, hanging } = this.#conduct.faults;
    const at = this.#draw.unit();
    if (at < refused) return this.#draw.chance(0.5) ? "refused" : "failed";
    if (at < refused + broken) return "broken";
    return at < refused + broken + hanging ? "hanging" : "whole";
  }

  /** Half of all models write until they are stopped. */
  #bill(asked: AskedOfProvider, bodyBytes: number, ending: Ending): Bill {
    if (ending === "refused") return { inputTokens: 0, outputTokens: 0, picos: 0 };
    const { overcount } = this.#conduct;
    const limit = asked.max_completion_tokens ?? asked.max_tokens ?? 0;
    const textTokens = Math.floor(bodyBytes * this.#draw.between(0.2, 1));
    const written = this.#draw.chance(0.5) ? limit : this.#draw.below(limit + 1);
    const inputTokens = Math.floor((textTokens + this.#draw.below(BESIDE_TEXT_MAX)) * overcount);
    const outputTokens = Math.floor(written * overcount);
    const picos = inputTokens * INPUT_MICROS_PER_MTOK + outputTokens * OUTPUT_MICROS_PER_MTOK;
    return { inputTokens, outputTokens, picos };
  }

  #answer(
    say: Speaker,
    of: { readonly asked: AskedOfProvider; readonly ending: Ending; readonly bill: Bill },
  ): void {
    const { asked, ending, bill } = of;
    const isMute = this.#draw.chance(this.#conduct.faults.mute);
    const usage = isMute ? undefined : usageOf(bill);
    if (ending === "hanging") return;
    if (ending === "refused" || ending === "failed") {
      say.head(ending === "refused" ? 429 : 500, "application/json");
      say.data(JSON.stringify({ error: { message: "not now", type: "server_error" } }));
      say.end();
    } else if (asked.stream === true) this.#stream(say, { ending, usage });
    else {
      say.head(200, "application/json");
      if (ending !== "broken") say.data(JSON.stringify({ ...WHOLE, ...(usage && { usage }) }));
      if (ending === "broken") say.breakOff();
      else say.end();
    }
  }

  #stream(say: Speaker, of: { readonly ending: Ending; readonly usage: object | undefined }): void {
    say.head(200, "text/event-stream");
    let left = 1 + this.#draw.below(CHUNKS_MAX);
    const next = (): void => {
      left -= 1;
      if (left < 0) {
        lastWords(say, of);
        return;
      }
      say.data(frame({ ...CHUNK, choices: [{ index: 0, delta: { content: "word " } }] }));
      this.#time.after(this.#draw.between(CHUNK_MS.min, CHUNK_MS.max), next);
    };
    next();
  }
}

function lastWords(
  say: Speaker,
  { ending, usage }: { readonly ending: Ending; readonly usage: object | undefined },
): void {
  if (ending === "broken") {
    say.breakOff();
    return;
  }
  say.data(frame({ ...CHUNK, choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }));
  if (usage) say.data(frame({ ...CHUNK, choices: [], usage }));
  say.data("data: [DONE]\n\n");
  say.end();
}

type AskedOfProvider = {
  readonly stream?: boolean;
  readonly max_tokens?: number;
  readonly max_completion_tokens?: number;
  readonly messages: readonly { readonly content: string }[];
};

/** The first word of every message of this world is the id of its request. */
function requestIdOf({ messages }: AskedOfProvider): string {
  return (messages[0]?.content ?? "").split(" ", 1)[0] as string;
}

function usageOf({ inputTokens, outputTokens }: Bill): object {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  };
}

const COMMON = { id: "chatcmpl-sim", created: 1_700_000_000, model: "gpt-sim" };
const CHUNK = { ...COMMON, object: "chat.completion.chunk" };
const WHOLE = {
  ...COMMON,
  object: "chat.completion",
  choices: [
    { index: 0, message: { role: "assistant", content: "So it is." }, finish_reason: "stop" },
  ],
};

function frame(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** Says an answer to a handler for as long as both ends of the connection are there. */
class Speaker {
  readonly #process: SimProcess;
  readonly #handler: CallHandler;
  readonly #control: SimControl;

  constructor(process: SimProcess, handler: CallHandler, control: SimControl) {
    this.#process = process;
    this.#handler = handler;
    this.#control = control;
  }

  head(status: number, contentType: string): void {
    if (this.#isHeard()) this.#handler.onHead(status, ["content-type", contentType]);
  }

  data(text: string): void {
    if (this.#isHeard()) this.#handler.onBody(Buffer.from(text));
  }

  end(): void {
    if (this.#isHeard()) this.#handler.onEnd();
  }

  breakOff(): void {
    if (this.#isHeard()) this.#handler.onFault(new Error("the answer broke off"));
  }

  #isHeard(): boolean {
    return this.#process.isAlive && !this.#control.isAborted;
  }
}

class SimControl implements CallControl {
  isAborted = false;

  abort(): void {
    this.isAborted = true;
  }

  pause(): void {}

  resume(): void {}
}
