import type { MeshRecord } from "../../mesh/record.ts";
import { controlSubject, FAST_PREFIX, healSubject, withPrefix } from "../../proto/subjects.ts";
import type { Draw } from "./draw.ts";
import type { SimTime } from "./sim-clock.ts";
import type { SimServer } from "./sim-server.ts";

const EVERY_MS = { min: 50, max: 800 };
const KEPT_MAX = 200;
const LATEST = 5;

/**
 * Somebody else on the bus. Forging is beyond him, but he has everything that was ever signed: he says
 * old records again, and says revives on the way of kills, ahead of their commit.
 */
export class Meddler {
  readonly #time: SimTime;
  readonly #server: SimServer;
  readonly #nodes: readonly string[];
  readonly #draw: Draw;
  readonly #records: MeshRecord[] = [];
  #isOver = true;

  constructor(of: {
    readonly time: SimTime;
    readonly server: SimServer;
    readonly nodes: readonly string[];
    readonly draw: Draw;
  }) {
    this.#time = of.time;
    this.#server = of.server;
    this.#nodes = of.nodes;
    this.#draw = of.draw;
  }

  begin(): void {
    this.#isOver = false;
    this.#next();
  }

  end(): void {
    this.#isOver = true;
  }

  /** A record was signed; whether anybody will commit it is not known yet. */
  saw(record: MeshRecord): void {
    this.#records.push(record);
    if (this.#records.length > KEPT_MAX) this.#records.shift();
    if (!this.#isOver && this.#draw.chance(0.5)) this.#say(record);
  }

  #next(): void {
    this.#time.after(this.#draw.between(EVERY_MS.min, EVERY_MS.max), () => {
      if (this.#isOver) return;
      const from = this.#draw.chance(0.5) ? this.#records.slice(-LATEST) : this.#records;
      if (from.length > 0) this.#say(this.#draw.pick(from));
      this.#next();
    });
  }

  #say({ parsed, bytes }: MeshRecord): void {
    const fast = withPrefix(controlSubject(parsed), FAST_PREFIX);
    const heal = healSubject(this.#draw.pick(this.#nodes));
    const isKillScope = fast.startsWith(`${FAST_PREFIX}kill.`);
    const subject = isKillScope && this.#draw.chance(0.6) ? fast : heal;
    this.#server.hub?.connect().send(subject, bytes);
  }
}
