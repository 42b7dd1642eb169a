import type { Delegation } from "../../authority/delegation.ts";
import type { Clock } from "../../ports/clock.ts";
import type {
  CutScope,
  DelegationAnswer,
  Funding,
  LoopToMesh,
  MeshToLoop,
  RowGrant,
} from "../thread-messages.ts";
import type { ClosablePort } from "../thread-port.ts";
import type { Resolved } from "./directory.ts";

type Cut = {
  readonly waiting: Set<number>;
  count: number;
  lastNs: bigint;
  readonly done: (count: number, atNs: bigint) => void;
};

export type LoopPortsDeps = {
  readonly clock: Clock;
  readonly resolve: (
    keySha256: string,
    source: string,
    isContract: boolean,
  ) => Resolved | Promise<Resolved>;
  readonly delegate: (
    keySha256: string,
    delegation: Delegation | Funding,
  ) => Promise<DelegationAnswer>;
  /** A row now serves somebody. Told before the loop is, so that the row's money is looked after. */
  readonly onRow: (grant: RowGrant) => void;
};

/** The data loops as the mesh thread sees them: who asks for rows, and who is told to cut. */
export class LoopPorts {
  readonly #deps: LoopPortsDeps;
  readonly #ports = new Map<number, ClosablePort>();
  readonly #cuts = new Map<number, Cut>();
  #cutNo = 0;

  constructor(deps: LoopPortsDeps) {
    this.#deps = deps;
  }

  add(loop: number, port: ClosablePort): void {
    this.#ports.set(loop, port);
    port.on("message", (message: LoopToMesh) => this.#take(loop, message));
    port.on("close", () => this.#gone(loop, port));
  }

  /** Has every loop close what the kill covers; calls `done` once all have, never from within. */
  cut(kill: CutScope, done: (count: number, atNs: bigint) => void): void {
    if (this.#ports.size === 0) {
      queueMicrotask(() => done(0, this.#deps.clock.monoNs()));
      return;
    }
    this.#cutNo += 1;
    const id = this.#cutNo;
    const waiting = new Set(this.#ports.keys());
    this.#cuts.set(id, { waiting, count: 0, lastNs: 0n, done });
    const message: MeshToLoop = { t: "cut", id, ...kill };
    for (const port of this.#ports.values()) port.postMessage(message);
  }

  /** Voids what the loops know of a key, before they hear anything that is told from now on. */
  forget(keySha256: string): void {
    const message: MeshToLoop = { t: "forget", keySha256 };
    for (const port of this.#ports.values()) port.postMessage(message);
  }

  close(): void {
    for (const port of this.#ports.values()) port.close();
  }

  #take(loop: number, message: LoopToMesh): void {
    if (message.t === "cut_done") {
      this.#cutDone(loop, message.id, { count: message.count, atNs: message.atNs });
      return;
    }
    if (message.t === "delegate") {
      void this.#delegate(loop, message);
      return;
    }
    const { id, keySha256, source, isContract = false } = message;
    const resolved = this.#deps.resolve(keySha256, source, isContract);
    if (resolved instanceof Promise) void resolved.then((late) => this.#answer(loop, id, late));
    else this.#answer(loop, id, resolved);
  }

  async #delegate(loop: number, message: Extract<LoopToMesh, { t: "delegate" }>): Promise<void> {
    const answer = await this.#deps.delegate(message.keySha256, message.delegation);
    const told: MeshToLoop = { t: "delegated", id: message.id, answer };
    this.#ports.get(loop)?.postMessage(told);
  }

  #answer(loop: number, id: number, resolved: Resolved): void {
    const grant = "grant" in resolved ? resolved.grant : undefined;
    const refused = "refused" in resolved ? resolved.refused : undefined;
    if ("isNewRow" in resolved && resolved.isNewRow) this.#deps.onRow(resolved.grant);
    const answer: MeshToLoop = { t: "resolved", id, grant, refused };
    this.#ports.get(loop)?.postMessage(answer);
  }

  #cutDone(loop: number, id: number, of: { readonly count: number; readonly atNs: bigint }): void {
    const cut = this.#cuts.get(id);
    if (!cut?.waiting.delete(loop)) return;
    cut.count += of.count;
    if (of.atNs > cut.lastNs) cut.lastNs = of.atNs;
    if (cut.waiting.size > 0) return;
    this.#cuts.delete(id);
    // A loop that had nothing to close may leave the time open.
    cut.done(cut.count, cut.lastNs === 0n ? this.#deps.clock.monoNs() : cut.lastNs);
  }

  /** A loop that has ended holds no connections. */
  #gone(loop: number, port: ClosablePort): void {
    if (this.#ports.get(loop) !== port) return;
    this.#ports.delete(loop);
    const atNs = this.#deps.clock.monoNs();
    for (const id of [...this.#cuts.keys()]) this.#cutDone(loop, id, { count: 0, atNs });
  }
}
