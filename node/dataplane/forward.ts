import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { Permit, UpstreamRequest } from "../decision/permit.ts";
import { addedHeaders } from "./added-headers.ts";
import type { Credentials } from "./credentials.ts";
import type { CallControl, CallHandler } from "./origin/call.ts";
import type { OriginPool } from "./origin-pool.ts";
import { pinnedUpstream } from "./pinned-upstream.ts";
import { type Upgraded, type UpgradeOptions, upgrade } from "./upgrade.ts";
import type { ResponseSink, UpstreamHandle } from "./upstream-leg.ts";
import type { UpstreamPools } from "./upstream-pools.ts";
import { type Wait, type Waiting, Waits } from "./waits.ts";

export type ForwardLimits = {
  /** From the call to the head of the answer. */
  readonly firstByteTimeoutMs: number;
  /** Between two chunks of the answer, while we are ready to take one. */
  readonly idleTimeoutMs: number;
  /** From the call to the end of the answer. */
  readonly totalTimeoutMs: number;
};

export type ForwardOptions = {
  readonly limits: ForwardLimits;
  /** Why the permit's last look refused; asked in the turn in which it did. */
  refusedBecause(): Reason;
};

export type Forwarder = {
  /**
   * Makes the one request that the permit allows, and tells the sink what becomes of it.
   *
   * Nothing is retried or redirected: each attempt needs a permit of its own.
   */
  forward(permit: Permit, sink: ResponseSink, options: ForwardOptions): UpstreamHandle;
  /** Makes the one request that the permit allows, for a connection that is a WebSocket then. */
  upgrade(permit: Permit, options: UpgradeOptions): Promise<Upgraded>;
  /** Ends what runs and closes all connections. */
  close(): Promise<void>;
};

export type ForwarderDeps = {
  readonly pools: UpstreamPools;
  readonly credentials: Credentials;
  readonly clock: Clock;
  /** Told of bugs in how an answer is relayed. */
  readonly onFault: (error: unknown) => void;
};

export function createForwarder(deps: ForwarderDeps): Forwarder {
  const exchangeDeps = { ...deps, waits: new Waits(deps.clock) };
  return {
    forward: (permit, sink, options) => {
      const request = new UpstreamExchange(permit, sink, options, exchangeDeps);
      request.start();
      return request;
    },
    upgrade: (permit, options) => upgrade(permit, options, deps),
    close: () => deps.pools.close(),
  };
}

type ExchangeDeps = ForwarderDeps & { readonly waits: Waits };

/**
 * One request to a provider.
 *
 * F1. The permit is consumed in `mayWrite`, in the turn in which the head is written. A no
 *     there sends nothing, so a kill that lands while a connection is made is not outrun.
 * F2. No connection is opened for it before the kernel has its record.
 * F3. The sink is told exactly one end, unless it aborted. A bug in what it does with the answer ends it as ours.
 */
class UpstreamExchange implements CallHandler, UpstreamHandle, Waiting {
  readonly #permit: Permit;
  readonly #sink: ResponseSink;
  readonly #options: ForwardOptions;
  readonly #deps: ExchangeDeps;
  /** From the turn on in which the request is written. */
  #control: CallControl | undefined;
  /** The connection of this request alone, where it may go to no other addresses. */
  #pinned: Pick<OriginPool, "destroy"> | undefined;
  #over = false;
  #paused = false;
  /** Monotonic time of the last sign of life since the answer began, nanoseconds; 0 before. */
  #activeNs = 0n;
  #startNs = 0n;
  #wait: Wait | undefined;
  /** A later one than the first, of whatever length is left. */
  #cancelWatch: Cancel | undefined;

  constructor(permit: Permit, sink: ResponseSink, options: ForwardOptions, deps: ExchangeDeps) {
    this.#permit = permit;
    this.#sink = sink;
    this.#options = options;
    this.#deps = deps;
  }

  start(): void {
    const { pools, credentials, clock, waits } = this.#deps;
    const { request } = this.#permit;
    const { limits } = this.#options;
    this.#sink.attach(this);
    // It may have been over before it began: a kill, a client that left.
    if (this.#over) return;
    const added = addedHeaders(request, credentials);
    if (added === undefined) {
      this.#fail("credential_unavailable");
      return;
    }
    this.#startNs = clock.monoNs();
    const waitMs = Math.min(limits.firstByteTimeoutMs, limits.totalTimeoutMs);
    this.#wait = waits.begin(this, waitMs, this.#startNs);
    // One that is pinned to its addresses has a connection of its own, and its origin no pool.
    const pool = request.addresses === undefined ? pools.poolFor(request.origin) : undefined;
    const { method, path, headers, body } = request;
    const call = { method, path, headers: [...headers, ...added], body };
    (pool ?? this.#pin(request)).dispatch(call, this);
  }

  /** A connection to the addresses that were judged, for this request alone. */
  #pin({ origin, addresses = [] }: UpstreamRequest): Pick<OriginPool, "dispatch"> {
    const pinned = pinnedUpstream(origin, addresses, this.#deps.clock);
    this.#pinned = pinned;
    return pinned;
  }

  get sent(): boolean {
    return this.#control !== undefined;
  }

  abort(): void {
    if (!this.#finish()) return;
    this.#control?.abort();
  }

  resume(): void {
    if (this.#over || !this.#paused) return;
    this.#paused = false;
    this.#activeNs = this.#deps.clock.monoNs();
    this.#control?.resume();
  }

  fault(error: unknown): void {
    this.#deps.onFault(error);
    // The provider may have said all long before.
    if (this.#finish()) this.#control?.abort();
    this.#tellError("stage_failed");
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

  onHead(status: number, rawHeaders: readonly string[]): void {
    if (this.#over) return;
    this.#activeNs = this.#deps.clock.monoNs();
    // What has come with the head is told in this turn, and mostly that is all of it.
    queueMicrotask(() => {
      if (!this.#over) this.#look();
    });
    try {
      this.#sink.onHead(status, rawHeaders);
    } catch (error) {
      this.fault(error);
    }
  }

  onBody(bytes: Uint8Array): void {
    if (this.#over) return;
    this.#activeNs = this.#deps.clock.monoNs();
    if (this.#sinkTakes(bytes) || this.#over) return;
    this.#paused = true;
    this.#control?.pause();
  }

  #sinkTakes(bytes: Uint8Array): boolean {
    try {
      return this.#sink.onData(bytes);
    } catch (error) {
      this.fault(error);
      return false;
    }
  }

  onEnd(): void {
    if (!this.#finish()) return;
    try {
      this.#sink.onEnd();
    } catch (error) {
      this.fault(error);
    }
  }

  onFault(): void {
    this.#fail(this.sent ? "upstream_failed" : "upstream_unreachable");
  }

  onDue(): void {
    this.#look();
  }

  /** One at a time, for whatever has to happen next. */
  #watch(delayMs: number): void {
    this.#unwatch();
    this.#cancelWatch = this.#deps.clock.after(delayMs, () => this.#look());
  }

  /** Ends what took too long, or waits for as long as it may take still. */
  #look(): void {
    const { firstByteTimeoutMs, idleTimeoutMs, totalTimeoutMs } = this.#options.limits;
    const nowNs = this.#deps.clock.monoNs();
    const leftOf = (fromNs: bigint, timeoutMs: number) =>
      timeoutMs - Number((nowNs - fromNs) / 1_000_000n);
    const isAnswered = this.#activeNs !== 0n;
    const ownLeftMs = isAnswered
      ? leftOf(this.#activeNs, idleTimeoutMs)
      : leftOf(this.#startNs, firstByteTimeoutMs);
    const totalLeftMs = leftOf(this.#startNs, totalTimeoutMs);
    // While it is we who do not read, nothing is missing from the other side.
    const waitMs = isAnswered && this.#paused ? idleTimeoutMs : ownLeftMs;
    if (waitMs <= 0 || totalLeftMs <= 0) this.#fail("upstream_timeout");
    else this.#watch(Math.min(waitMs, totalLeftMs));
  }

  #unwatch(): void {
    if (this.#wait !== undefined) this.#deps.waits.end(this.#wait);
    this.#wait = undefined;
    this.#cancelWatch?.();
  }

  #fail(reason: Reason): void {
    if (!this.#finish()) return;
    this.#control?.abort();
    this.#tellError(reason);
  }

  #tellError(reason: Reason): void {
    try {
      this.#sink.onError(reason, this.sent);
    } catch (error) {
      this.#deps.onFault(error);
    }
  }

  /** False: it was over before. */
  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#unwatch();
    void this.#pinned?.destroy();
    return true;
  }
}
