import { create } from "@bufbuild/protobuf";
import { distrustOf } from "../mesh/distrust-of.ts";
import { type MeshRecord, nextRecord, RecordError } from "../mesh/record.ts";
import { DISTRUST_MILLI_MAX, DISTRUST_MILLI_MIN } from "../mesh/record-op.ts";
import { type Clock, monoMs } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import { DistrustReplySchema, type DistrustRequest } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { type Distrust, LimitSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../proto/ids.ts";
import { CommandRefused } from "./command-refused.ts";
import type { Commands } from "./commands.ts";
import type { Tell } from "./events.ts";
import { type ReplyBody, type RequestFrom, refusedBody } from "./node-requests.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import { PolicyView } from "./policy-view.ts";
import type { RateGate } from "./rate-gate.ts";
import type { Registry } from "./registry.ts";
import type { Replica } from "./replica.ts";

export type DistrustsOptions = {
  readonly mesh: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly signer: Signer;
  readonly replica: Replica;
  readonly policy: Pick<PolicyInHand, "now">;
  readonly registry: Registry;
  readonly commands: Commands;
  readonly modelsOf: (bundle: Uint8Array) => ReadonlySet<string>;
  /** Raises by node. */
  readonly raises: RateGate;
  readonly tell: Tell;
};

/**
 * Makes one node's costly lesson the mesh's: a bill above its hold becomes a record that every node
 * follows. No person is asked, because such a record only makes requests dearer to hold.
 *
 * A node that lies can so make models of policy unaffordable, up to a hundred times, and no more: names
 * that policy does not know are refused, and each node has its pace.
 */
export class Distrusts {
  readonly #options: DistrustsOptions;
  readonly #models: PolicyView<ReadonlySet<string>>;

  constructor(options: DistrustsOptions) {
    this.#options = options;
    this.#models = new PolicyView(options.policy, options.modelsOf);
  }

  /** Answers a node. What it asks for is the mesh's once its record is committed, not before. */
  async raise(
    { provider, model, milli, era }: DistrustRequest,
    { node, bootId }: RequestFrom,
  ): Promise<ReplyBody> {
    const { replica, registry, raises, clock, tell } = this.#options;
    const scope = `distrust/${provider}/${model}`;
    const isAmount = milli >= DISTRUST_MILLI_MIN && milli <= DISTRUST_MILLI_MAX;
    if (!isAmount || parseScope(scope)?.kind !== "distrust") {
      return refusedBody("malformed_request", "provider, model or milli");
    }
    if (!registry.isCurrentBoot(node, bootId)) {
      return refusedBody("boot_ended", `${bootId} of ${node} has ended`);
    }
    const id = `${provider}/${model}`;
    if (this.#models.now?.has(id) !== true)
      return refusedBody("model_unknown", `${id} is not in the policy`);
    const known = distrustOf(replica.state.get(scope)?.op);
    const knownEra = known?.era ?? 0n;
    // The record that the node goes by has not come here yet: it asks again.
    if (era > knownEra)
      return refusedBody("distrust_era_unknown", `${id} is in era ${knownEra} here`);
    // What was learnt before an operator's word is answered by it.
    if (known !== undefined && (era < knownEra || known.milli >= milli)) {
      return { case: "distrust", value: create(DistrustReplySchema, { milli: known.milli }) };
    }
    if (!raises.pass(node, monoMs(clock))) {
      return refusedBody("distrust_limited", `${node} asked for too many raises`);
    }
    const refusal = await this.#commit(scope, milli, node);
    if (refusal !== undefined) return refusedBody(refusal.reason, refusal.message);
    tell("distrust_raised", { node, model: id, milli: Number(milli) });
    return { case: "distrust", value: create(DistrustReplySchema, { milli }) };
  }

  async #commit(scope: string, milli: bigint, node: string): Promise<CommandRefused | undefined> {
    const { mesh, clock, random, signer, replica, commands } = this.#options;
    const distrust = { milli, ...eraOf(replica.state.get(scope)) };
    const value = create(LimitSchema, { of: { case: "distrust", value: distrust } });
    const fields = {
      mesh,
      scope,
      op: { case: "limit" as const, value },
      cmdId: uuidV7(clock.nowMs(), random),
      issuedAtMs: clock.nowMs(),
      operator: `node/${node}`,
    };
    try {
      await commands.carry(nextRecord(replica.state.get(scope), fields, signer), ["limit"]);
      return undefined;
    } catch (error) {
      // Another node's raise is on its way: this one is asked for again, if that is not enough.
      if (error instanceof CommandRefused) return error;
      if (error instanceof RecordError) return new CommandRefused(error.reason, error.message);
      throw error;
    }
  }
}

/** The era that the current record is of, and the proof that an operator began it. */
function eraOf(current: MeshRecord | undefined): Pick<Distrust, "era" | "since"> {
  const known = distrustOf(current?.op);
  if (known === undefined || known.era === 0n) return { era: 0n, since: new Uint8Array(0) };
  const { era, since } = known;
  return { era, since: since.length > 0 ? since : (current as MeshRecord).bytes };
}
