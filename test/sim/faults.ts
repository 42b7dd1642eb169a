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
const WALL_JUMP_MS = 7_200_000;
const ROLLED_BACK_SHARE = 0.3;
/** Acknowledgements, acceptances and grants that are followed by a crash, and how soon. */
const STRUCK_SHARE = 0.02;
const STRUCK_MS = 3;

export type FaultyParts = {
  readonly time: SimTime;
  readonly server: SimServer;
  readonly coordinator: SimCoordinator;
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
    const { nodes, coordinator, time } = this.#parts;
    const isWord = event.t === "acked" || event.t === "accepted" || event.t === "lease";
    if (!isWord || !this.#draw.chance(STRUCK_SHARE)) return;
    const node = event.t === "acked" ? nodes.find(({ name }) => name === event.node) : undefined;
    time.after(this.#draw.unit() * STRUCK_MS, () => this.#down(node ?? coordinator));
  }

  /** Everything works again, whatever was broken; what is down comes up. */
  end(): void {
    this.#isOver = true;
    const { weather, logFaults, conduct, nodes, coordinator, server } = this.#parts;
    Object.assign(weather, CALM);
    Object.assign(logFaults, { failing: 0, behind: 0 });
    conduct.faults = { unreachable: 0, refused: 0, broken: 0, hanging: 0, mute: 0 };
    this.commitFailures = 0;
    for (const { cable } of [...nodes, coordinator])
      Object.assign(cable, { out: false, in: false });
    if (server.hub === undefined) void server.start(false);
    if (!coordinator.isUp) coordinator.start();
    for (const node of nodes) if (!node.isUp) node.start();
  }

  #next(): void {
    this.#parts.time.after(this.#draw.between(EVERY_MS.min, EVERY_MS.max), () => {
      if (this.#isOver) return;
      this.#break();
      this.#next();
    });
  }

  #break(): void {
    const { nodes, coordinator } = this.#parts;
    const node = this.#draw.pick(nodes);
    const deeds = [
      () => this.#down(node),
      () => this.#down(node),
      () => this.#down(coordinator),
      () => this.#downServer(),
      () => this.#cut(node.cable),
      () => this.#cut(node.cable),
      () => this.#cut(coordinator.cable),
      () => {
        node.machine.wallMs += this.#draw.between(-WALL_JUMP_MS, WALL_JUMP_MS);
      },
    ];
    this.#draw.pick(deeds)();
  }

  #down(part: SimNode | SimCoordinator): void {
    if (this.#isOver || !part.isUp) return;
    part.crash();
    this.#later(DOWN_MS, () => {
      if (!part.isUp) part.start();
    });
  }

  #downServer(): void {
    const { server } = this.#parts;
    if (server.hub === undefined) return;
    server.stop();
    this.#later(DOWN_MS, () => {
      if (server.hub === undefined) void server.start(this.#draw.chance(ROLLED_BACK_SHARE));
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
