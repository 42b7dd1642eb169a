import type { ControlPlane } from "./control-plane.ts";
import type { Draw } from "./draw.ts";
import { CALM, type Weather } from "./sim-bus.ts";
import type { SimTime } from "./sim-clock.ts";
import type { SimCoordinator } from "./sim-coordinator.ts";
import type { SimEvent } from "./sim-event.ts";
import type { LogFaults } from "./sim-log.ts";
import type { SimNode } from "./sim-node.ts";
import type { ProviderConduct } from "./sim-provider.ts";
import type { SimServer } from "./sim-server.ts";

const EVERY_MS = { min: 300, max: 4_000 };
const DOWN_MS = { min: 50, max: 5_000 };
const CUT_MS = { min: 300, max: 18_000 };
/** Longer than a leader that says nothing stays leader, and than some leases last. */
const SUSPENDED_MS = { min: 100, max: 14_000 };
const WALL_JUMP_MS = 7_200_000;
const ROLLED_BACK_SHARE = 0.3;
/** Acknowledgements, acceptances and grants that are followed by a crash, and how soon. */
const STRUCK_SHARE = 0.02;
/** Of a node's words that something is on its disk, said while that disk still writes. */
const STRUCK_WRITING_SHARE = 0.5;
const STRUCK_MS = 3;

/** What is told by somebody who may go down in that moment. */
const WORDS: ReadonlySet<SimEvent["t"]> = new Set(["acked", "accepted", "lease", "contract"]);

export type FaultyParts = {
  readonly time: SimTime;
  readonly server: SimServer;
  readonly plane: ControlPlane;
  readonly nodes: readonly SimNode[];
  readonly weather: Weather;
  readonly logFaults: LogFaults;
  readonly conduct: ProviderConduct;
};

/** Breaks a world's parts one after another, and mends all of them at the end. */
export class Faults {
  readonly #parts: FaultyParts;
  readonly #draw: Draw;
  /** Share of commits that fail; read by every disk. */
  commitFailures = 0;
  #isOver = true;

  constructor(parts: FaultyParts, draw: Draw) {
    this.#parts = parts;
    this.#draw = draw;
  }

  begin(): void {
    this.#isOver = false;
    const { weather, logFaults, conduct } = this.#parts;
    const draw = this.#draw;
    Object.assign(weather, {
      loss: draw.chance(0.6) ? draw.between(0, 0.2) : 0,
      doubled: draw.chance(0.6) ? draw.between(0, 0.3) : 0,
      late: draw.chance(0.6) ? draw.between(0, 0.3) : 0,
      lateMs: draw.between(10, 1_500),
      lagging: draw.chance(0.5) ? draw.between(0, 0.5) : 0,
    });
    Object.assign(logFaults, { failing: draw.between(0, 0.01), behind: draw.between(0, 0.02) });
    conduct.faults = {
      unreachable: draw.between(0, 0.1),
      refused: draw.between(0, 0.1),
      broken: draw.between(0, 0.1),
      hanging: draw.between(0, 0.05),
      mute: draw.between(0, 0.1),
    };
    this.commitFailures = draw.chance(0.6) ? draw.between(0, 0.03) : 0;
    this.#next();
  }

  /**
   * Now and then something goes down just when it has said something: what it had said must hold.
   */
  heard(event: SimEvent): void {
    if (this.#isOver) return;
    const { nodes, plane, time } = this.#parts;
    if (event.t === "settled") this.#strikeWaiting(event);
    const isWord = WORDS.has(event.t);
    const isDurable = event.t === "acked" && event.isDurable;
    const node = event.t === "acked" ? nodes.find(({ name }) => name === event.node) : undefined;
    const isEarly = isDurable && node?.isWriting === true;
    if (!isWord || !this.#draw.chance(isEarly ? STRUCK_WRITING_SHARE : STRUCK_SHARE)) return;
    const { leader, coordinators } = plane;
    const struck = node ?? leader ?? this.#draw.pick(coordinators);
    time.after(this.#draw.unit() * STRUCK_MS, () =>
      isEarly ? this.#down(struck) : this.#strike(struck),
    );
  }

  /** A node dies while the record of an outcome lies in the memory of a loop. */
  #strikeWaiting({ node, fate }: Extract<SimEvent, { t: "settled" }>): void {
    if (fate !== "waits" || !this.#draw.chance(STRUCK_SHARE)) return;
    const struck = this.#parts.nodes.find(({ name }) => name === node);
    this.#parts.time.after(this.#draw.unit() * STRUCK_MS, () => struck && this.#down(struck));
  }

  /** Everything works again, whatever was broken; what is down comes up. */
  end(): void {
    this.#isOver = true;
    const { weather, logFaults, conduct, nodes, plane, server } = this.#parts;
    Object.assign(weather, CALM);
    Object.assign(logFaults, { failing: 0, behind: 0 });
    conduct.faults = { unreachable: 0, refused: 0, broken: 0, hanging: 0, mute: 0 };
    this.commitFailures = 0;
    if (server.hub === undefined) void server.start("none");
    for (const part of [...plane.coordinators, ...nodes]) {
      Object.assign(part.cable, { out: false, in: false });
      if (!part.isUp) part.start();
    }
  }

  #next(): void {
    this.#parts.time.after(this.#draw.between(EVERY_MS.min, EVERY_MS.max), () => {
      if (this.#isOver) return;
      this.#break();
      this.#next();
    });
  }

  #break(): void {
    const { nodes, plane } = this.#parts;
    const node = this.#draw.pick(nodes);
    const { leader, coordinators } = plane;
    // Whoever leads is worth breaking more than the others.
    const isOfLeader = leader !== undefined && this.#draw.chance(0.6);
    const coordinator = isOfLeader ? leader : this.#draw.pick(coordinators);
    const deeds = [
      () => this.#down(node),
      () => this.#down(node),
      () => this.#down(coordinator),
      () => this.#downServer(),
      () => this.#cut(node.cable),
      () => this.#cut(node.cable),
      () => this.#cut(coordinator.cable),
      () => this.#suspend(coordinator),
      () => this.#suspend(node),
      () => {
        node.machine.wallMs += this.#draw.between(-WALL_JUMP_MS, WALL_JUMP_MS);
      },
    ];
    this.#draw.pick(deeds)();
  }

  #strike(part: SimNode | SimCoordinator): void {
    if (this.#draw.chance(0.5)) this.#down(part);
    else this.#suspend(part);
  }

  #suspend(part: SimNode | SimCoordinator): void {
    if (this.#isOver) return;
    part.suspend(this.#draw.between(SUSPENDED_MS.min, SUSPENDED_MS.max));
  }

  #down(part: SimNode | SimCoordinator): void {
    if (this.#isOver || !part.isUp) return;
    part.crash();
    this.#later(DOWN_MS, () => {
      if (!part.isUp) part.start();
    });
  }

  #downServer(): void {
    const { server, plane } = this.#parts;
    if (server.hub === undefined) return;
    server.stop();
    const lost = plane.shape === "three" ? "but_ledger" : "all";
    this.#later(DOWN_MS, () => {
      const isRolledBack = this.#draw.chance(ROLLED_BACK_SHARE);
      if (server.hub === undefined) void server.start(isRolledBack ? lost : "none");
    });
  }

  /** One way, the other, or both. */
  #cut(cable: { out: boolean; in: boolean }): void {
    const way = this.#draw.below(3);
    if (way !== 0) cable.out = true;
    if (way !== 1) cable.in = true;
    this.#later(CUT_MS, () => Object.assign(cable, { out: false, in: false }));
  }

  /** Mending after the end would undo what the end has mended. */
  #later(span: { readonly min: number; readonly max: number }, mend: () => void): void {
    this.#parts.time.after(this.#draw.between(span.min, span.max), () => {
      if (!this.#isOver) mend();
    });
  }
}
