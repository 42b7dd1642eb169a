import { ActorHost } from "../../node/actors/actor-host.ts";
import type { LedgerPort } from "../../node/actors/ledger-port.ts";
import { rowTill } from "../../node/actors/till.ts";
import { createRowOwner, type RowRef } from "../../node/table/rows.ts";
import { NO_CELL } from "../../node/table/scope-cells.ts";
import { createTable } from "../../node/table/table.ts";
import type { CompiledPolicy } from "../../policy/compiled-policy.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store } from "../../ports/store.ts";
import type { Times } from "./histogram.ts";
import { pause } from "./operator.ts";
import type { SlowTurns } from "./slow-turns.ts";

const TABLE_ROWS = 65_536;
const AT_ONCE = 64;
const NEED = { usdMicros: 5_000n, tokens: 1_500n, calls: 1n };
const TTL_MS = 600_000;
const LET_GO_MS_MAX = 60_000;
const LOOK_EVERY_MS = 20;

/** A node's actors on a real store and a real table, with a ledger that grants all at once. */
export class Actives {
  readonly host: ActorHost;
  readonly #clock: Clock;
  readonly #rows = new Map<string, RowRef>();
  readonly #table = createTable({ rows: TABLE_ROWS, loops: 1, scopes: 4, writers: 1 });
  readonly #owner = createRowOwner(this.#table);

  constructor(of: {
    readonly store: Store;
    readonly clock: Clock;
    readonly policy: CompiledPolicy;
  }) {
    this.#clock = of.clock;
    this.host = new ActorHost({
      store: of.store,
      clock: of.clock,
      ledger: generousLedger(),
      policy: () => of.policy,
      tillOf: (account) => rowTill(this.#table, () => this.#rows.get(account)),
      onReturned: () => undefined,
      onStanding: () => undefined,
      onFault: (error) => {
        throw error;
      },
    });
  }

  /** Brings agents into memory and lends to each what a first request needs. */
  async activate(
    accounts: readonly string[],
    times: {
      readonly activation: Times;
      readonly firstLend: Times;
      readonly slowTurns?: SlowTurns;
    },
  ): Promise<void> {
    let next = 0;
    const work = async (): Promise<void> => {
      for (let no = next++; no < accounts.length; no = next++) {
        const account = accounts[no] as string;
        const row = this.#owner.allot({ team: 1, agent: 2, contract: NO_CELL });
        if (row === undefined) throw new Error("the table is full");
        this.#rows.set(account, row);
        const turn = times.slowTurns?.begin();
        const startedNs = this.#clock.monoNs();
        this.host.rowCame(account);
        times.activation.add(this.#clock.monoNs() - startedNs);
        if (turn !== undefined) times.slowTurns?.end(turn);
        await this.lendMore(account);
        times.firstLend.add(this.#clock.monoNs() - startedNs);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (this.host.accounts.size !== accounts.length) throw new Error("somebody is missing");
  }

  /** Asks the actor for what one more request needs. */
  async lendMore(account: string): Promise<void> {
    const { outcome } = await this.host.topUp(account, NEED);
    if (outcome !== "ok") throw new Error(`${account}: ${outcome}`);
  }

  /** Nobody asks any more: waits until the host has forgotten all of them, and frees their rows. */
  async letGo(): Promise<void> {
    const endMs = Date.now() + LET_GO_MS_MAX;
    while (this.host.accounts.size > 0) {
      if (Date.now() > endMs) throw new Error(`${this.host.accounts.size} actors are kept`);
      this.host.tick(0n);
      await pause(LOOK_EVERY_MS);
    }
    for (const { row } of this.#rows.values()) {
      this.#owner.retire(row);
      if (!this.#owner.reclaim(row)) throw new Error("money was left in a row");
    }
    this.#rows.clear();
  }
}

function generousLedger(): LedgerPort {
  let leases = 0;
  return {
    lease: async (_account, _need, want) => {
      leases += 1;
      return {
        outcome: "granted",
        leaseId: `lease-${leases}`,
        epoch: 1,
        amount: want,
        ttlMs: TTL_MS,
        unlimited: { usdMicros: 0n, tokens: 0n, calls: 0n },
      };
    },
    again: async () => undefined,
    settle: async () => true,
    standing: async () => true,
  };
}
