import type { Socket } from "node:net";
import type { Dispatcher } from "undici";
import type { Cancel } from "../../ports/clock.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { Permit } from "../decision/permit.ts";
import { addedHeaders } from "./added-headers.ts";
import type { ForwarderDeps, ForwardOptions } from "./forward.ts";

/** What became of a request for another protocol. */
export type Upgraded =
  | { readonly socket: Socket; readonly headers: readonly string[] }
  /**
   * `sent`: the provider may have seen the request. `isRefused`: it has, and has said in so many words
   * that nothing comes of it.
   */
  | { readonly reason: Reason; readonly sent: boolean; readonly isRefused?: true };

export type UpgradeOptions = ForwardOptions & {
  /** The headers of the answer to the client; undefined: the far side has not agreed. */
  readonly agreed: (
    answered: Readonly<Record<string, string | string[] | undefined>>,
  ) => readonly string[] | undefined;
  /** Given what ends the attempt, in the turn in which it is begun. */
  readonly onBegin: (abort: () => void) => void;
};

/**
 * Makes the one request that the permit allows, for a connection that is a WebSocket from then on.
 *
 * The permit is consumed in the turn in which the head is written, as `forward` does. Resolves once,
 * rejects never.
 */
export function upgrade(
  permit: Permit,
  options: UpgradeOptions,
  deps: ForwarderDeps,
): Promise<Upgraded> {
  return new Promise((resolve) => new Upgrading(permit, options, deps, resolve).start());
}

/** Nothing may be sent any more; thrown where undici would write the head, it writes nothing. */
class NotSent extends Error {}

const NOT_REFUSED = { isRefused: false };

class Upgrading implements Dispatcher.DispatchHandler {
  readonly #permit: Permit;
  readonly #options: UpgradeOptions;
  readonly #deps: ForwarderDeps;
  readonly #resolve: (upgraded: Upgraded) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #cancelWatch: Cancel = () => {};
  #sent = false;
  #over = false;

  constructor(
    permit: Permit,
    options: UpgradeOptions,
    deps: ForwarderDeps,
    resolve: (upgraded: Upgraded) => void,
  ) {
    this.#permit = permit;
    this.#options = options;
    this.#deps = deps;
    this.#resolve = resolve;
  }

  start(): void {
    const { pools, credentials, clock } = this.#deps;
    const { request } = this.#permit;
    this.#options.onBegin(() => this.#fail("client_gone"));
    if (this.#over) return;
    const added = addedHeaders(request, credentials);
    if (added === undefined) {
      this.#fail("credential_unavailable");
      return;
    }
    if (!this.#permit.mayConnect()) {
      this.#fail(this.#options.refusedBecause());
      return;
    }
    const { firstByteTimeoutMs } = this.#options.limits;
    this.#cancelWatch = clock.after(firstByteTimeoutMs, () => this.#fail("upstream_timeout"));
    const { method, path } = request;
    const headers = [...request.headers, ...added];
    const asked = { method, path, headers, upgrade: "websocket", body: null, idempotent: false };
    pools.poolFor(request.origin).dispatch({ ...asked, headersTimeout: 0, bodyTimeout: 0 }, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#over) throw new NotSent("given up before it was sent");
    if (!this.#permit.consume()) {
      this.#fail(this.#sent ? "upstream_failed" : this.#options.refusedBecause());
      throw new NotSent("the permit was refused");
    }
    this.#sent = true;
    this.#controller = controller;
  }

  onRequestUpgrade(
    _controller: Dispatcher.DispatchController,
    _status: number,
    answered: Readonly<Record<string, string | string[] | undefined>>,
    socket: unknown,
  ): void {
    const connection = socket as Socket;
    const headers = this.#over ? undefined : this.#options.agreed(answered);
    if (headers !== undefined && this.#finish()) this.#resolve({ socket: connection, headers });
    else connection.on("error", () => {}).destroy();
    this.#fail("upstream_failed");
  }

  /** Whatever it says instead of agreeing, it is no session; its error may hold anything. */
  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return;
    // What a server's own fault has left behind, nobody knows.
    this.#fail("upstream_failed", { isRefused: status >= 300 && status < 500 });
  }

  onResponseError(): void {
    this.#fail(this.#sent ? "upstream_failed" : "upstream_unreachable");
  }

  #fail(reason: Reason, { isRefused }: { readonly isRefused: boolean } = NOT_REFUSED): void {
    if (!this.#finish()) return;
    this.#controller?.abort(new NotSent(reason));
    this.#resolve({ reason, sent: this.#sent, ...(isRefused && { isRefused }) });
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#cancelWatch();
    return true;
  }
}
