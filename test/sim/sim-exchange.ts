import type { Connections, OpenExchange } from "../../node/dataplane/connections.ts";
import type { Answer, Cut, Exchange, RequestHead } from "../../node/dataplane/exchange.ts";
import type { Cost } from "../../node/decision/facts.ts";
import type { ConnectionInfo } from "../../node/thread-messages.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { SimProcess } from "./sim-process.ts";

/** How a client of this world behaves towards its own request. */
export type ClientConduct = {
  /** From the head to the last byte of the body, ms. */
  readonly bodyMs: number;
  /** Goes away so long after its head, ms; undefined: stays. */
  readonly gonesAfterMs: number | undefined;
};

/** How a request ended for its client. */
export type ClientOutcome = {
  readonly status: number;
  readonly reason: string;
  /** Of an answer of the node's own. */
  readonly body?: string;
};

/** One request of one client, without a socket between. */
export class SimExchange implements Exchange, OpenExchange {
  readonly requestId: string;
  readonly door = "gateway";
  readonly head: RequestHead;
  readonly headAtNs: bigint;
  readonly done: Promise<ClientOutcome>;
  readonly #process: SimProcess;
  readonly #connections: Connections;
  readonly #body: Buffer;
  readonly #conduct: ClientConduct;
  readonly #end: (outcome: ClientOutcome) => void;
  #agentId = "";
  #phase: "waiting" | "begun" | "closed" = "waiting";
  #cut: Cut | undefined;
  #failBody: ((reason: Reason) => void) | undefined;
  #onCut: ((cut: Cut) => void)[] = [];
  #onGone: (() => void)[] = [];
  #status = 0;
  held: Cost | undefined;

  constructor(
    requestId: string,
    head: RequestHead,
    of: {
      readonly process: SimProcess;
      readonly connections: Connections;
      readonly body: Buffer;
      readonly conduct: ClientConduct;
    },
  ) {
    this.requestId = requestId;
    this.head = head;
    this.#process = of.process;
    this.#connections = of.connections;
    this.#body = of.body;
    this.#conduct = of.conduct;
    this.headAtNs = of.process.clock.monoNs();
    const done = Promise.withResolvers<ClientOutcome>();
    this.done = done.promise;
    this.#end = done.resolve;
    const { gonesAfterMs } = of.conduct;
    if (gonesAfterMs !== undefined) of.process.clock.after(gonesAfterMs, () => this.#leave());
  }

  claim(agentId: string, contractId: string | undefined): void {
    this.#agentId = agentId;
    this.#connections.claim(this, agentId, contractId);
  }

  readBody(): Promise<Buffer | Reason> {
    if (this.#phase === "closed") return Promise.resolve("client_gone");
    if (this.#cut !== undefined) return Promise.resolve(reasonOf(this.#cut));
    return new Promise((resolve) => {
      this.#failBody = resolve;
      this.#process.clock.after(this.#conduct.bodyMs, () => resolve(Buffer.from(this.#body)));
    });
  }

  onUnread(): void {}

  answer({ status, headers, body }: Answer): void {
    if (this.#phase !== "waiting") return;
    this.#status = status;
    const at = headers.indexOf("x-altrace-reason");
    this.#close(at < 0 ? "ok" : (headers[at + 1] as string), String(body ?? ""));
  }

  begin(status: number): void {
    if (this.#phase !== "waiting") return;
    this.#phase = "begun";
    this.#status = status;
  }

  write(): boolean {
    return true;
  }

  onDrain(): void {
    // Its reader takes everything at once.
  }

  end(): void {
    if (this.#phase === "begun") this.#close("ok");
  }

  cut(): void {
    if (this.#phase !== "closed") this.#close("cut");
  }

  onCut(fn: (cut: Cut) => void): void {
    if (this.#cut !== undefined) fn(this.#cut);
    else this.#onCut.push(fn);
  }

  onGone(fn: () => void): void {
    if (this.#phase === "closed") fn();
    else this.#onGone.push(fn);
  }

  setHeld(held: Cost | undefined): void {
    this.held = held;
  }

  markStreaming(): void {
    // Nobody lists the connections of this world.
  }

  markToolStream(): void {
    // Its agents offer no tools.
  }

  endsAt(): boolean {
    return false;
  }

  isOpen(): boolean {
    return this.#phase !== "closed";
  }

  info(): ConnectionInfo {
    const { requestId } = this;
    const nothing = { streaming: false, ageMs: 0, bytesUp: 0, bytesDown: 0, held: this.held };
    const who = { id: requestId, agentId: this.#agentId, door: this.door, peer: this.head.peer };
    return { ...who, requestId, ...nothing };
  }

  cutFromOutside(cut: Cut): void {
    if (this.#cut !== undefined || !this.isOpen()) return;
    this.#cut = cut;
    this.#failBody?.(reasonOf(cut));
    const hooks = this.#onCut;
    this.#onCut = [];
    for (const hook of hooks) hook(cut);
  }

  reset(): void {
    this.#leave();
  }

  #leave(): void {
    if (this.#phase === "closed") return;
    const hooks = this.#onGone;
    this.#failBody?.("client_gone");
    this.#close("client_gone");
    for (const hook of hooks) hook();
  }

  #close(reason: string, body = ""): void {
    this.#phase = "closed";
    this.#connections.remove(this);
    this.#end({ status: this.#status, reason, body });
  }
}

function reasonOf(cut: Cut): Reason {
  return cut.by === "reason" ? cut.reason : `killed_${cut.by}`;
}
