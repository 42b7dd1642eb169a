import { type MeshRecord, nextRecord, RecordError } from "../mesh/record.ts";
import { coordinatorMaySign, isInForce } from "../mesh/trust.ts";
import type { Clock } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import { pause } from "../ports/pause.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import { StoreFault } from "../ports/store.ts";
import { CommandRefused } from "./command-refused.ts";
import type { Commands } from "./commands.ts";
import type { Tell } from "./events.ts";
import type { Replica } from "./replica.ts";

export type SaidAgainOptions = {
  readonly mesh: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly signer: Signer;
  readonly replica: Replica;
  readonly commands: Commands;
  readonly tell: Tell;
};

/** Whoever removes a key mostly has an operator's key renew at once what it signed. */
const FIRST_AFTER_MS = 1_000;
/** Between the turns of two coordinators: the later one finds nothing left, unless the earlier is down. */
const TURN_MS = 3_000;
/** Records that are looked at in one turn, signatures and all: a kill must not wait for more of them. */
const LOOKED_AT_ONCE = 16;
/** So long the next record waits for this one's commit, which goes on by itself after that. */
const COMMIT_WAIT_MS = 2_000;

/**
 * Says again, under this coordinator's key, what another coordinator said whose key counts no more.
 *
 * A kill that was taken while its key was in force holds, wherever it was heard. But who has not heard it by then
 * cannot check it any more, and two states that differ so would differ for ever. Only what any coordinator may say
 * is said again: kills, and a larger distrust. The rest is for an operator to renew.
 */
export class SaidAgain {
  readonly #options: SaidAgainOptions;
  readonly #stopping = new AbortController();
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;

  constructor(options: SaidAgainOptions) {
    this.#options = options;
  }

  /** From now on; what an earlier run has left is found too. */
  start(): void {
    const { replica } = this.#options;
    replica.onRecord(({ parsed }) => {
      if (parsed.kind === "trust") this.#later();
    });
    replica.onKept(() => this.#later());
    this.#later();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#cancel?.();
    await this.#running;
  }

  #later(): void {
    const turn = Math.max(0, this.#rank());
    this.#cancel ??= this.#options.clock.after(FIRST_AFTER_MS + turn * TURN_MS, () => {
      this.#cancel = undefined;
      this.#begin();
    });
  }

  /** This coordinator's place among those in force, the same wherever it is asked for; -1: it is none. */
  #rank(): number {
    const { replica, clock, signer } = this.#options;
    const inForce = replica.trust.keysOf("coordinator").filter((key) => {
      return isInForce(key, clock.nowMs());
    });
    return inForce
      .map(({ kid }) => kid)
      .sort()
      .indexOf(signer.kid);
  }

  #begin(): void {
    if (this.#stopping.signal.aborted) return;
    // Before it has read the stream this replica may not know that somebody has said it again.
    if (this.#running || !this.#options.replica.isReplayed) {
      this.#later();
      return;
    }
    this.#running = this.#sayAll().finally(() => {
      this.#running = undefined;
    });
  }

  async #sayAll(): Promise<void> {
    const { replica, clock } = this.#options;
    const { signal } = this.#stopping;
    let looked = 0;
    for (const record of [...replica.state.records()]) {
      looked += 1;
      if (looked % LOOKED_AT_ONCE === 0) await pause(clock, 0, signal);
      if (signal.aborted) return;
      if (!coordinatorMaySign(record.op.case, record.parsed) || replica.counts(record)) continue;
      // Another may have taken its place while the ones before were said.
      if (replica.state.get(record.scope)?.hashHex !== record.hashHex) continue;
      if (this.#rank() < 0) return;
      await this.#say(record);
    }
  }

  async #say(record: MeshRecord): Promise<void> {
    const { mesh, clock, random, signer, commands, tell } = this.#options;
    const { scope, operator, op } = record;
    const issuedAtMs = clock.nowMs();
    const fields = { mesh, scope, operator, op, issuedAtMs, cmdId: uuidV7(issuedAtMs, random) };
    try {
      const command = await commands.carry(nextRecord(record, fields, signer), [op.case]);
      tell("record_said_again", { scope, op: op.case, v: command.v });
      await commands.settled(command, COMMIT_WAIT_MS);
    } catch (error) {
      if (error instanceof StoreFault) return this.#later();
      // An operator is renewing it, or its era's beginning was signed by a key that is gone too.
      if (!(error instanceof CommandRefused || error instanceof RecordError)) throw error;
      tell("record_refused", { via: "said_again", subject: scope, reason: error.reason });
    }
  }
}
