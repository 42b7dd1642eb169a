import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** What a link does to bytes, as seen from whoever connects through it. */
export type LinkFault =
  /** Connections are reset, and new ones too. */
  | "reset"
  /** Nothing arrives on either side, and nobody is told. */
  | "black_hole"
  /** Nothing arrives here. */
  | "deaf"
  /** Nothing arrives there. */
  | "mute"
  /** Everything arrives two seconds later. */
  | "late"
  /** A kilobyte a second arrives here. */
  | "drip"
  /** Nothing is read from there, so that it piles up on the other side. */
  | "stalled";

const LATE_MS = 2_000;
const DRIP = { bytes: 50, everyMs: 50 };

/**
 * A link to a TCP server that can be made to fail as networks do. Bytes are held and never dropped, as TCP
 * itself holds them: what was held goes on its way when the fault is mended.
 */
export class FaultyLink implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #fault: LinkFault | undefined;

  private constructor(toPort: number) {
    this.#server = createServer((near) => {
      if (this.#fault === "reset") {
        near.resetAndDestroy();
        return;
      }
      const pair = new Pair(near, connect(toPort, "127.0.0.1"), () => this.#fault);
      this.#pairs.add(pair);
      pair.onClose(() => this.#pairs.delete(pair));
    });
  }

  static async to(port: number): Promise<FaultyLink> {
    const link = new FaultyLink(port);
    link.#server.listen(0, "127.0.0.1");
    await once(link.#server, "listening");
    return link;
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** `undefined` mends it. */
  set(fault: LinkFault | undefined): void {
    this.#fault = fault;
    for (const pair of this.#pairs) {
      if (fault === "reset") pair.reset();
      else pair.changed();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pair of this.#pairs) pair.reset();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }
}

/** Both halves of one connection. */
class Pair {
  readonly #far: Socket;
  readonly #near: Socket;
  readonly #halves: readonly Half[];

  constructor(near: Socket, far: Socket, fault: () => LinkFault | undefined) {
    this.#near = near;
    this.#far = far;
    const toNear = (): Passing => passing(fault(), "here");
    const toFar = (): Passing => passing(fault(), "there");
    this.#halves = [new Half(far, near, toNear), new Half(near, far, toFar)];
    for (const socket of [near, far]) socket.on("error", () => undefined);
    far.once("close", () => near.destroy());
    near.once("close", () => far.destroy());
  }

  onClose(fn: () => void): void {
    this.#near.once("close", () => {
      for (const half of this.#halves) half.stop();
      fn();
    });
  }

  changed(): void {
    for (const half of this.#halves) half.changed();
  }

  reset(): void {
    this.#near.resetAndDestroy();
    this.#far.resetAndDestroy();
  }
}

type Passing = "on" | "held" | "late" | "drip" | "unread";

function passing(fault: LinkFault | undefined, side: "here" | "there"): Passing {
  if (fault === "black_hole") return "held";
  if (fault === "late") return "late";
  if (side === "there") return fault === "mute" ? "held" : "on";
  if (fault === "deaf") return "held";
  if (fault === "drip") return "drip";
  return fault === "stalled" ? "unread" : "on";
}

/** One direction: what came and has not gone on, in its order. */
class Half {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #passing: () => Passing;
  readonly #held: { readonly bytes: Buffer; readonly atMs: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, how: () => Passing) {
    this.#from = from;
    this.#to = to;
    this.#passing = how;
    from.on("data", (bytes: Buffer) => {
      this.#held.push({ bytes, atMs: performance.now() });
      this.changed();
    });
  }

  changed(): void {
    if (this.#passing() === "unread") this.#from.pause();
    else this.#from.resume();
    this.#pass();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #pass(): void {
    clearTimeout(this.#timer);
    const how = this.#passing();
    if (how === "held" || how === "unread") return;
    for (let first = this.#held[0]; first; first = this.#held[0]) {
      const waitMs = how === "late" ? first.atMs + LATE_MS - performance.now() : 0;
      if (waitMs > 0) {
        this.#later(waitMs);
        return;
      }
      const count = how === "drip" ? DRIP.bytes : first.bytes.length;
      this.#to.write(first.bytes.subarray(0, count));
      const rest = first.bytes.subarray(count);
      if (rest.length > 0) this.#held[0] = { ...first, bytes: rest };
      else this.#held.shift();
      if (how !== "drip") continue;
      this.#later(DRIP.everyMs);
      return;
    }
  }

  #later(waitMs: number): void {
    this.#timer = setTimeout(() => this.#pass(), waitMs);
  }
}
