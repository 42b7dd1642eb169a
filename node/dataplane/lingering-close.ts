import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { GatewayLimits } from "./gateway-limits.ts";

type LingerLimits = Pick<
  GatewayLimits,
  "lingerBytesMax" | "lingerTimeoutMs" | "lingerPerAgentMax" | "lingerMax"
>;

/**
 * The places of a loop for connections whose request is read and thrown away after its refusal.
 *
 * Closing a socket with unread bytes makes the kernel send RST, and that discards the refusal at a
 * client that is still sending: it would see a broken pipe and try again. Reading on costs a place.
 */
export class LingerPlaces {
  readonly limits: LingerLimits;
  readonly clock: Clock;
  readonly #taken = new Map<string, number>();
  #count = 0;

  constructor(options: { readonly limits: LingerLimits; readonly clock: Clock }) {
    this.limits = options.limits;
    this.clock = options.clock;
  }

  /** @param holder Agent id; the empty string stands for all unknown clients together. */
  take(holder: string): boolean {
    const held = this.#taken.get(holder) ?? 0;
    if (this.#count >= this.limits.lingerMax || held >= this.limits.lingerPerAgentMax) return false;
    this.#taken.set(holder, held + 1);
    this.#count++;
    return true;
  }

  give(holder: string): void {
    const held = this.#taken.get(holder);
    if (held === undefined) return;
    this.#count--;
    if (held === 1) this.#taken.delete(holder);
    else this.#taken.set(holder, held - 1);
  }

  count(): number {
    return this.#count;
  }
}

/**
 * Reads `source` and throws it away, until its end or until a bound is met.
 *
 * @param source A request whose answer is written, or a socket whose parser has given up.
 * @param holder Whose place it takes.
 * @param done Called once. `ended`: the client sent everything, or went away. `bounded`: too much,
 * too long, or no place was left: the connection is to be destroyed.
 */
export function discard(
  source: Readable,
  holder: string,
  places: LingerPlaces,
  done: (outcome: "ended" | "bounded") => void,
): void {
  if (!places.take(holder)) {
    done("bounded");
    return;
  }
  new Discarding(source, holder, places, done);
}

class Discarding {
  readonly #source: Readable;
  readonly #holder: string;
  readonly #places: LingerPlaces;
  readonly #done: (outcome: "ended" | "bounded") => void;
  readonly #cancelTimer: Cancel;
  #leftBytes: number;
  #over = false;

  constructor(
    source: Readable,
    holder: string,
    places: LingerPlaces,
    done: (outcome: "ended" | "bounded") => void,
  ) {
    this.#source = source;
    this.#holder = holder;
    this.#places = places;
    this.#done = done;
    this.#leftBytes = places.limits.lingerBytesMax;
    const bounded = (): void => this.#finish("bounded");
    this.#cancelTimer = places.clock.after(places.limits.lingerTimeoutMs, bounded);
    source.on("data", this.#onData);
    source.on("end", this.#onEnd);
    source.on("close", this.#onEnd);
    source.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#leftBytes -= chunk.length;
    if (this.#leftBytes < 0) this.#finish("bounded");
  };

  readonly #onEnd = (): void => this.#finish("ended");

  #finish(outcome: "ended" | "bounded"): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelTimer();
    this.#places.give(this.#holder);
    this.#source.off("data", this.#onData);
    this.#source.off("end", this.#onEnd);
    this.#source.off("close", this.#onEnd);
    this.#done(outcome);
  }
}

/**
 * Says `bytes` on a socket that has no response object, and closes it: the client's side may be
 * half-way through a request that nobody will read.
 */
export function answerAndClose(
  socket: Socket,
  bytes: Uint8Array,
  holder: string,
  places: LingerPlaces,
): void {
  if (socket.destroyed) return;
  // The parser of node:http must see no more of this connection.
  socket.removeAllListeners("data");
  socket.on("error", () => socket.destroy());
  socket.end(bytes);
  discard(socket, holder, places, (outcome) => {
    if (outcome === "ended") socket.destroySoon();
    else socket.destroy();
  });
}
