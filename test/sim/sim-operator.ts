import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { newKey } from "../../cli/commands/key.ts";
import type { Command } from "../../coordinator/command.ts";
import { CommandRefused } from "../../coordinator/command-refused.ts";
import { distrustOf } from "../../mesh/distrust-of.ts";
import { nextRecord } from "../../mesh/record.ts";
import type { OpName, RecordOp } from "../../mesh/record-op.ts";
import { TAKEN_OUT_MS } from "../../mesh/trust.ts";
import type { Signer } from "../../ports/keys.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import { StoreFault } from "../../ports/store.ts";
import {
  AccountLimitSchema,
  DistrustSchema,
  KeySchema,
  LimitSchema,
  PolicySchema,
  ReviveSchema,
  TrustedKeySchema,
  TrustRole,
  TrustSchema,
  Unit,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import type { ControlPlane } from "./control-plane.ts";
import { revokedScope } from "./sim-contracts.ts";
import { MESH, type SimCoordinator } from "./sim-coordinator.ts";
import type { SimNode } from "./sim-node.ts";
import type { Surroundings } from "./surroundings.ts";

/** Whoever holds the operator's key, at the door of some coordinator that is up. */
export class SimOperator {
  readonly #world: Surroundings;
  readonly #plane: ControlPlane;
  readonly #signer: Signer;
  readonly #random: Random;
  readonly #onSigned: (bytes: Uint8Array) => void;
  #revoked = 0;

  constructor(
    world: Surroundings,
    of: {
      readonly plane: ControlPlane;
      readonly signer: Signer;
      readonly random: Random;
      /** A record is signed, and nobody has it yet. */
      readonly onSigned: (bytes: Uint8Array) => void;
    },
  ) {
    this.#world = world;
    this.#plane = of.plane;
    this.#signer = of.signer;
    this.#random = of.random;
    this.#onSigned = of.onSigned;
  }

  async kill(scope: string): Promise<void> {
    await this.#killAt(this.#plane.reachable, scope);
  }

  async #killAt(at: SimCoordinator | undefined, scope: string): Promise<void> {
    const parts = at?.parts;
    const fields = { cmdId: this.#newId(), scope, reason: "", cause: "", operator: "olga" };
    const command = await this.#try(() => parts?.commands.kill(fields));
    if (command?.accepted) this.#world.tell({ t: "accepted", scope, v: command.v });
  }

  /** Revokes a contract that ends then, ms since the Unix epoch. */
  async revoke(contractEndMs: number): Promise<void> {
    const parts = this.#plane.reachable?.parts;
    this.#revoked += 1;
    const scope = revokedScope(contractEndMs, this.#revoked);
    const fields = { cmdId: this.#newId(), scope, reason: "", cause: "", operator: "olga" };
    await this.#try(() => parts?.commands.kill({ ...fields, contractEndMs }));
  }

  async revive(scope: string): Promise<void> {
    const at = this.#plane.reachable;
    if (at?.parts?.replica.state.killed(scope) !== true) return;
    await this.#carry(scope, { case: "revive", value: create(ReviveSchema, {}) }, "revive", { at });
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

  /** Says that the model's bills are to be trusted as its price entry says, whatever they were. */
  async trustPrice(model: string): Promise<void> {
    const at = this.#plane.reachable;
    const scope = `distrust/${model}`;
    const before = distrustOf(at?.parts?.replica.state.get(scope)?.op);
    if (at === undefined || before === undefined) return;
    const distrust = create(DistrustSchema, { milli: 1_000n, era: before.era + 1n });
    const value = create(LimitSchema, { of: { case: "distrust", value: distrust } });
    await this.#carry(scope, { case: "limit", value }, "limit", { at });
  }

  /** Adds coordinators to those that the founder of the mesh trusts. */
  async trust(coordinators: readonly SimCoordinator[]): Promise<void> {
    const op = this.#plane.founder.parts?.replica.state.get("trust")?.op;
    if (op?.case !== "trust") throw new Error("the mesh has no trust bundle");
    const added = coordinators.flatMap(({ signer, enrolment }) => [
      { ...keyOf(signer), role: TrustRole.COORDINATOR },
      { ...keyOf(enrolment), role: TrustRole.ENROLMENT },
    ]);
    const keys = [...op.value.keys, ...added];
    await this.#carry("trust", { case: "trust", value: create(TrustSchema, { keys }) }, "trust");
  }

  /**
   * Takes a coordinator out of the mesh, the one that lends where it may, as `altrace trust remove` does:
   * its key stays listed, good for what it said. Once in a world, and never the founder, by whom all is judged.
   *
   * @param lastKill What somebody has that coordinator kill while its removal is on its way.
   */
  async remove(lastKill: string): Promise<void> {
    const { founder, members, leader, reachable: at } = this.#plane;
    const bundle = at?.parts?.replica.state.get("trust")?.op;
    if (at === undefined || bundle?.case !== "trust" || members.length < 3) return;
    const others = members.filter((one) => one !== founder);
    const gone = others.find((one) => one === leader) ?? others[0];
    if (gone === undefined) return;
    const keys = bundle.value.keys.map((key) =>
      key.kid === gone.signer.kid
        ? create(TrustedKeySchema, { ...key, notBeforeMs: 0n, notAfterMs: BigInt(TAKEN_OUT_MS) })
        : key,
    );
    const op = { case: "trust" as const, value: create(TrustSchema, { keys }) };
    const removing = this.#carry("trust", op, "trust", { at });
    await Promise.all([removing, this.#killAt(gone, lastKill)]);
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
    await this.#carry(`node/${name}`, op, "trust", { signer: this.#plane.founder.enrolment });
  }

  async #carry(
    scope: string,
    op: RecordOp,
    name: OpName,
    by: { readonly signer?: Signer; readonly at?: SimCoordinator } = {},
  ): Promise<void> {
    const { signer = this.#signer, at = this.#plane.reachable } = by;
    const parts = at?.parts;
    if (parts === undefined) return;
    const fields = {
      mesh: MESH,
      scope,
      op,
      cmdId: this.#newId(),
      issuedAtMs: this.#plane.nowMs(),
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
    return uuidV7(this.#plane.nowMs(), this.#random);
  }
}

function keyOf({ kid, publicKey }: Signer): {
  readonly kid: string;
  readonly publicKey: Uint8Array;
} {
  return { kid, publicKey };
}
