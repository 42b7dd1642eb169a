import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { BodyReader, ByteSource } from "./client-wire.ts";
import type { GatewayLimits } from "./gateway-limits.ts";
import { StreamSource } from "./stream-source.ts";

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

export type Discard = {
  /** A request's body whose answer is written, or a connection of which nothing can be read. */
  readonly source: ByteSource;
  /** Whose place it takes. */
  readonly holder: string;
  readonly places: LingerPlaces;
  /** Sees what is thrown away. */
  readonly onPiece?: ((piece: Uint8Array) => void) | undefined;
  /**
   * Called once. `ended`: the client sent everything, or went away. `bounded`: too much, too long, or no place was left:
   * the connection is to be destroyed.
   */
  readonly done: (outcome: "ended" | "bounded") => void;
};

/** Reads what comes and throws it away, until its end or until a bound is met. */
export function discard(of: Discard): void {
  if (of.places.take(of.holder)) new Discarding(of).start();
  else of.done("bounded");
}

class Discarding implements BodyReader {
  readonly #of: Discard;
  #cancelTimer: Cancel = () => {};
  #leftBytes: number;
  #over = false;

  constructor(of: Discard) {
    this.#of = of;
    this.#leftBytes = of.places.limits.lingerBytesMax;
  }

  start(): void {
    const { source, places } = this.#of;
    const bounded = (): void => this.#finish("bounded");
    this.#cancelTimer = places.clock.after(places.limits.lingerTimeoutMs, bounded);
    source.tell(this);
  }

  onPiece(piece: Buffer): void {
    this.#of.onPiece?.(piece);
    this.#leftBytes -= piece.length;
    if (this.#leftBytes < 0) this.#finish("bounded");
  }

  onEnd(): void {
    this.#finish("ended");
  }

  #finish(outcome: "ended" | "bounded"): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelTimer();
    this.#of.places.give(this.#of.holder);
    this.#of.source.hush();
    this.#of.done(outcome);
  }
}

/**
 * Says `bytes` on a socket that nobody reads, and closes it: the client's side may be half-way through a request that
 * nobody will read.
 */
export function answerAndClose(
  socket: Socket,
  bytes: Uint8Array,
  holder: string,
  places: LingerPlaces,
): void {
  if (socket.destroyed) return;
  socket.on("error", () => socket.destroy());
  socket.end(bytes);
  const source = new StreamSource(socket);
  discard({
    source,
    holder,
    places,
    done: (outcome) => {
      if (outcome === "ended") socket.destroySoon();
      else socket.destroy();
    },
  });
}
