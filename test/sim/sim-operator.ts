import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { newKey } from "../../cli/commands/key.ts";
import type { Command } from "../../coordinator/command.ts";
import { CommandRefused } from "../../coordinator/command-refused.ts";
import { nextRecord } from "../../mesh/record.ts";
import type { OpName, RecordOp } from "../../mesh/record-op.ts";
import type { Signer } from "../../ports/keys.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import { StoreFault } from "../../ports/store.ts";
import {
  AccountLimitSchema,
  KeySchema,
  LimitSchema,
  PolicySchema,
  ReviveSchema,
  TrustedKeySchema,
  TrustRole,
  TrustSchema,
  Unit,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import { MESH, type SimCoordinator } from "./sim-coordinator.ts";
import type { SimNode } from "./sim-node.ts";
import type { Surroundings } from "./surroundings.ts";

/** Whoever holds the operator's key, at the door of whatever coordinator is up. */
export class SimOperator {
  readonly #world: Surroundings;
  readonly #coordinator: SimCoordinator;
  readonly #signer: Signer;
  readonly #random: Random;
  readonly #onSigned: (bytes: Uint8Array) => void;

  constructor(
    world: Surroundings,
    of: {
      readonly coordinator: SimCoordinator;
      readonly signer: Signer;
      readonly random: Random;
      /** A record is signed, and nobody has it yet. */
      readonly onSigned: (bytes: Uint8Array) => void;
    },
  ) {
    this.#world = world;
    this.#coordinator = of.coordinator;
    this.#signer = of.signer;
    this.#random = of.random;
    this.#onSigned = of.onSigned;
  }

  async kill(scope: string): Promise<void> {
    const { parts } = this.#coordinator;
    const fields = { cmdId: this.#newId(), scope, reason: "", cause: "", operator: "olga" };
    const command = await this.#try(() => parts?.commands.kill(fields));
    if (command?.accepted) this.#world.tell({ t: "accepted", scope, v: command.v });
  }

  async revive(scope: string): Promise<void> {
    if (this.#coordinator.parts?.replica.state.killed(scope) !== true) return;
    await this.#carry(scope, { case: "revive", value: create(ReviveSchema, {}) }, "revive");
  }

  /** Signs another limit for what is left of an account's window. */
  async topUp(account: string, window: string, usdMicros: number): Promise<void> {
    this.#world.tell({ t: "limited", account, usdMicros });
    const value = create(LimitSchema, {
      of: {
        case: "account",
        value: create(AccountLimitSchema, {
          unit: Unit.USD_MICROS,
          window,
          limit: BigInt(usdMicros),
        }),
      },
    });
    await this.#carry(`budget/${account}`, { case: "limit", value }, "limit");
  }

  async applyPolicy(bundle: Uint8Array): Promise<void> {
    const sha256 = createHash("sha256").update(bundle).digest();
    const value = create(PolicySchema, { sha256, size: BigInt(bundle.length), body: bundle });
    await this.#carry("policy", { case: "policy", value }, "policy");
  }

  /** Returns the key of an agent, once the coordinator has accepted it. */
  async issueKey(agent: string): Promise<string> {
    const { id, key, sha256 } = newKey(this.#random);
    const value = create(KeySchema, { sha256, agent });
    await this.#carry(`key/${id}`, { case: "key", value }, "key");
    return key;
  }

  async enrol({ name, signer }: SimNode): Promise<void> {
    const { kid, publicKey } = signer;
    const key = create(TrustedKeySchema, { kid, publicKey, role: TrustRole.NODE });
    const op: RecordOp = { case: "trust", value: create(TrustSchema, { keys: [key] }) };
    await this.#carry(`node/${name}`, op, "trust", this.#coordinator.enrolment);
  }

  async #carry(scope: string, op: RecordOp, name: OpName, signer = this.#signer): Promise<void> {
    const { parts } = this.#coordinator;
    if (parts === undefined) return;
    const fields = {
      mesh: MESH,
      scope,
      op,
      cmdId: this.#newId(),
      issuedAtMs: this.#coordinator.nowMs(),
      operator: "olga",
    };
    const bytes = nextRecord(parts.replica.state.get(scope), fields, signer);
    this.#onSigned(bytes);
    await this.#try(() => parts.commands.carry(bytes, [name]));
  }

  async #try(call: () => Promise<Command> | undefined): Promise<Command | undefined> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof CommandRefused || error instanceof StoreFault) return undefined;
      throw error;
    }
  }

  #newId(): string {
    return uuidV7(this.#coordinator.nowMs(), this.#random);
  }
}
