import type { Socket } from "node:net";
import type { Cancel } from "../../ports/clock.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { Permit } from "../decision/permit.ts";
import { addedHeaders } from "./added-headers.ts";
import type { ForwarderDeps, ForwardOptions } from "./forward.ts";
import type { CallControl, CallHandler } from "./origin/call.ts";

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

const NOT_REFUSED = { isRefused: false };

class Upgrading implements CallHandler {
  readonly #permit: Permit;
  readonly #options: UpgradeOptions;
  readonly #deps: ForwarderDeps;
  readonly #resolve: (upgraded: Upgraded) => void;
  /** From the turn on in which the request is written. */
  #control: CallControl | undefined;
  #cancelWatch: Cancel = () => {};
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
    const { firstByteTimeoutMs } = this.#options.limits;
    this.#cancelWatch = clock.after(firstByteTimeoutMs, () => this.#fail("upstream_timeout"));
    const { method, path, body } = request;
    const headers = [...request.headers, ...added];
    const call = { method, path, headers, body, upgrade: "websocket" };
    pools.poolFor(request.origin).dispatch(call, this);
  }

  mayConnect(): boolean {
    return !this.#over && this.#goesOn(this.#permit.mayConnect());
  }

  mayWrite(control: CallControl): boolean {
    if (this.#over || !this.#goesOn(this.#permit.consume())) return false;
    this.#control = control;
    return true;
  }

  /** What the permit's last look has refused ends with the reason of that. */
  #goesOn(isAllowed: boolean): boolean {
    if (!isAllowed) this.#fail(this.#options.refusedBecause());
    return isAllowed;
  }

  onUpgraded(rawHeaders: readonly string[], socket: Socket): void {
    const headers = this.#over ? undefined : this.#options.agreed(byName(rawHeaders));
    if (headers !== undefined && this.#finish()) this.#resolve({ socket, headers });
    else socket.on("error", () => {}).destroy();
    this.#fail("upstream_failed");
  }

  /** Whatever it says instead of agreeing, it is no session; its error may hold anything. */
  onHead(status: number): void {
    // What a server's own fault has left behind, nobody knows.
    this.#fail("upstream_failed", { isRefused: status >= 300 && status < 500 });
  }

  onBody(): void {}

  onEnd(): void {}

  onFault(): void {
    this.#fail(this.#sent ? "upstream_failed" : "upstream_unreachable");
  }

  get #sent(): boolean {
    return this.#control !== undefined;
  }

  #fail(reason: Reason, { isRefused }: { readonly isRefused: boolean } = NOT_REFUSED): void {
    if (!this.#finish()) return;
    this.#control?.abort();
    this.#resolve({ reason, sent: this.#sent, ...(isRefused && { isRefused }) });
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#cancelWatch();
    return true;
  }
}

/** Values by name in lower case; of a name that comes twice, all. */
function byName(rawHeaders: readonly string[]): Record<string, string | string[]> {
  const said: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    const before = said[name];
    said[name] = before === undefined ? value : [before, value].flat();
  }
  return said;
}
