import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../../ports/clock.ts";
import type { Reason } from "../../../proto/reasons.ts";
import type { CarriedExchange } from "./carried-exchange.ts";

/** How a tunnel ended. `undefined`: either side closed it. */
export type TunnelEnd = { readonly reason: Reason | undefined };

export type CarryInput = {
  readonly tunnel: CarriedExchange;
  /** Connected already, or about to be. */
  readonly upstream: Socket;
  /** What the client has said already. */
  readonly first: Uint8Array;
  /** The end of one side is the end of both, as it is of a WebSocket. */
  readonly endsTogether?: true;
  readonly clock: Clock;
  readonly limits: {
    /** Until the far side takes the connection. */
    readonly firstByteTimeoutMs: number;
    /** Without a byte either way. */
    readonly idleTimeoutMs: number;
    readonly totalTimeoutMs: number;
  };
  /** A look at the scope cells, taken at every chunk: why the tunnel has to end, if it has to. */
  readonly closedNow: () => Reason | undefined;
};

/**
 * Carries bytes both ways until both legs are closed. Resolves then; rejects never.
 *
 * A side that reads slowly holds the other one back: no more than a socket's own buffer is kept. An
 * end of one side is passed on, so that half-closed connections go on where there may be some.
 */
export function carry(input: CarryInput): Promise<TunnelEnd> {
  return new Promise((resolve) => new Carrying(input, resolve).start());
}

class Carrying {
  readonly #input: CarryInput;
  readonly #resolve: (end: TunnelEnd) => void;
  #reason: Reason | undefined;
  #isConnected = false;
  #activeNs = 0n;
  #cancelWatch: Cancel = () => {};
  #cancelTotal: Cancel = () => {};

  constructor(input: CarryInput, resolve: (end: TunnelEnd) => void) {
    this.#input = input;
    this.#resolve = resolve;
  }

  start(): void {
    const { tunnel, upstream, first, clock, limits } = this.#input;
    tunnel.onClosed(() => this.#over());
    tunnel.onCut(() => {});
    if (upstream.destroyed) return;
    this.#cancelTotal = clock.after(limits.totalTimeoutMs, () => this.#end("tunnel_expired"));
    if (!upstream.connecting) this.#connected();
    else {
      this.#cancelWatch = clock.after(limits.firstByteTimeoutMs, () => {
        tunnel.fail("upstream_timeout");
      });
      // Before the socket's own listeners, which write what was said until then.
      upstream.prependOnceListener("connect", () => this.#connected());
    }
    upstream.on("error", () => this.#failed());
    if (first.length > 0) {
      tunnel.wentUp(first.length, clock.monoNs());
      upstream.write(first);
    }
    this.#pass(tunnel.socket, upstream, (bytes, nowNs) => tunnel.wentUp(bytes, nowNs));
    this.#pass(upstream, tunnel.socket, (bytes, nowNs) => tunnel.wentDown(bytes, nowNs));
  }

  #connected(): void {
    const { clock, limits, closedNow } = this.#input;
    this.#isConnected = true;
    this.#cancelWatch();
    // Making the connection may have taken long, and what the client has said so far leaves behind this.
    const closed = closedNow();
    if (closed !== undefined) {
      this.#end(closed);
      return;
    }
    this.#activeNs = clock.monoNs();
    this.#watchIdle(limits.idleTimeoutMs);
  }

  #pass(from: Socket, to: Socket, count: (bytes: number, nowNs: bigint) => void): void {
    from.on("data", (chunk: Buffer) => {
      const closed = this.#input.closedNow();
      if (closed !== undefined) {
        this.#end(closed);
        return;
      }
      this.#activeNs = this.#input.clock.monoNs();
      count(chunk.length, this.#activeNs);
      if (!to.destroyed && !to.write(chunk)) from.pause();
    });
    to.on("drain", () => from.resume());
    from.on("end", () => {
      to.end();
      if (this.#input.endsTogether === true) for (const one of [from, to]) one.destroySoon();
    });
    from.on("close", () => {
      // The kernel may have ended it before word of the kill came here.
      const closed = this.#input.closedNow();
      if (closed !== undefined) this.#end(closed);
      // A leg that is gone for good takes the other one with it, once what it said has been passed on.
      else if (to.writableEnded) to.destroySoon();
      else to.destroy();
    });
    from.resume();
  }

  #failed(): void {
    if (!this.#isConnected) this.#input.tunnel.fail("upstream_unreachable");
  }

  #watchIdle(delayMs: number): void {
    const { clock, limits } = this.#input;
    this.#cancelWatch = clock.after(delayMs, () => {
      const idleMs = Number((clock.monoNs() - this.#activeNs) / 1_000_000n);
      const leftMs = limits.idleTimeoutMs - idleMs;
      if (leftMs > 0) this.#watchIdle(leftMs);
      else this.#end("tunnel_idle");
    });
  }

  #end(reason: Reason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#input.tunnel.close(reason);
  }

  #over(): void {
    this.#cancelWatch();
    this.#cancelTotal();
    this.#resolve({ reason: this.#input.tunnel.cutReason });
  }
}
