import { TAKEN_OUT_MS } from "../../mesh/trust.ts";
import type { Signer } from "../../ports/keys.ts";
import type { Draw } from "./draw.ts";
import { LeaseJournal } from "./lease-journal.ts";
import type { MachineClock } from "./sim-clock.ts";
import { SimCoordinator } from "./sim-coordinator.ts";
import type { Surroundings } from "./surroundings.ts";

/** How many coordinators there are, and where their ledger lies. */
export type PlaneShape =
  /** One, on whose own disk it lies. */
  | "own_ledger"
  /** One, whose ledger is a chain in a stream; the stream may lose its end. */
  | "shared_ledger"
  /** Three that take turns at it. */
  | "three";

/** How long a leader that says nothing stays leader. The shorter, the more often two believe to lead. */
const LEADER_TTLS_MS = [900, 3_000, 8_000] as const;
const SUSPENDED_WORLDS = 0.35;

export function drawPlaneShape(draw: Draw): PlaneShape {
  const at = draw.unit();
  if (at < SUSPENDED_WORLDS) return "three";
  return at < 0.55 ? "shared_ledger" : "own_ledger";
}

/** The coordinators of a world, and what they have in common. */
export class ControlPlane {
  readonly shape: PlaneShape;
  readonly coordinators: readonly SimCoordinator[];
  /** Holds the operator's key and the enrolment key that nodes are enrolled by. */
  readonly founder: SimCoordinator;
  readonly journal: LeaseJournal;
  readonly #draw: Draw;

  constructor(
    world: Surroundings,
    of: {
      readonly shape: PlaneShape;
      readonly operator: Signer;
      readonly machine: () => MachineClock;
      readonly draw: Draw;
    },
  ) {
    this.shape = of.shape;
    this.#draw = of.draw;
    this.journal = new LeaseJournal(
      (event) => world.tell(event),
      (bytes) => world.server.holds(bytes),
    );
    const leaderTtlMs = of.draw.pick(LEADER_TTLS_MS);
    this.coordinators = Array.from({ length: of.shape === "three" ? 3 : 1 }, (_, no) => {
      return new SimCoordinator(world, {
        name: `c${no + 1}`,
        isFounder: no === 0,
        isLedgerShared: of.shape !== "own_ledger",
        leaderTtlMs,
        journal: this.journal,
        machine: of.machine(),
        operator: of.operator,
        draw: of.draw.fork(),
      });
    });
    this.founder = this.coordinators[0] as SimCoordinator;
  }

  /** Those that no operator has taken out of the mesh, by what the founder knows. */
  get members(): readonly SimCoordinator[] {
    const op = this.founder.parts?.replica.state.get("trust")?.op;
    if (op?.case !== "trust") return this.coordinators;
    const out = op.value.keys.filter((key) => Number(key.notAfterMs) === TAKEN_OUT_MS);
    if (out.length === 0) return this.coordinators;
    const kids = new Set(out.map(({ kid }) => kid));
    return this.coordinators.filter(({ signer }) => !kids.has(signer.kid));
  }

  /** The one whose books count, as far as those that are up know. */
  get leader(): SimCoordinator | undefined {
    return this.members.find(({ parts }) => parts?.ledger.isLed === true);
  }

  /** One that an operator can reach now; undefined while none is up. */
  get reachable(): SimCoordinator | undefined {
    const up = this.members.filter(({ parts }) => parts !== undefined);
    return up.length === 0 ? undefined : this.#draw.pick(up);
  }

  /** Wall clock by which windows of budgets end. */
  nowMs(): number {
    return this.founder.nowMs();
  }
}
