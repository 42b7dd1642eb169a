import { create } from "@bufbuild/protobuf";
import { nextRecord } from "../mesh/record.ts";
import type { Clock } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import { pause } from "../ports/pause.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import { StoreFault } from "../ports/store.ts";
import { TrustRole, TrustSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { CommandRefused } from "./command-refused.ts";
import type { Commands } from "./commands.ts";
import type { Tell } from "./events.ts";
import type { Replica } from "./replica.ts";

export type TrustBundleOptions = {
  readonly mesh: string;
  readonly replica: Replica;
  readonly commands: Commands;
  readonly clock: Clock;
  readonly random: Random;
  readonly tell: Tell;
  /** The operator's key, where it lies on this machine. */
  readonly operator: Signer | undefined;
  readonly coordinator: Signer;
  readonly enrolment: Signer;
  readonly signal: AbortSignal;
};

const LOOK_EVERY_MS = 25;
const RETRY_MS = 1_000;

/**
 * Signs the mesh's first trust bundle, once the stream has shown that there is none.
 *
 * Only the very first: who is trusted later is for an operator to say, and no key that happens to lie
 * in HOME adds itself to a bundle that stands.
 */
export async function foundTrust(options: TrustBundleOptions): Promise<void> {
  const { replica, commands, clock, operator, signal } = options;
  while (!replica.isReplayed && !signal.aborted) await pause(clock, LOOK_EVERY_MS, signal);
  if (signal.aborted || replica.state.get("trust") || !operator) return;
  for (const command of commands.all()) if (command.scope === "trust" && !command.conflict) return;
  const bundle = signBundle(options, operator);
  while (!signal.aborted) {
    try {
      await commands.carry(bundle, ["trust"]);
      return options.tell("mesh_founded", { mesh: options.mesh });
    } catch (error) {
      // Another coordinator founded the mesh at the same moment.
      if (error instanceof CommandRefused && error.reason === "conflict") return;
      if (!(error instanceof StoreFault)) throw error;
      options.tell("store_failed", { what: "trust", error: String(error) });
      await pause(clock, RETRY_MS, signal);
    }
  }
}

function signBundle(options: TrustBundleOptions, operator: Signer): Uint8Array {
  const { mesh, clock, random, coordinator, enrolment } = options;
  const keys = [
    { signer: operator, role: TrustRole.OPERATOR },
    { signer: coordinator, role: TrustRole.COORDINATOR },
    { signer: enrolment, role: TrustRole.ENROLMENT },
  ].map(({ signer: { kid, publicKey }, role }) => ({ kid, publicKey, role }));
  const fields = {
    mesh,
    scope: "trust",
    cmdId: uuidV7(clock.nowMs(), random),
    issuedAtMs: clock.nowMs(),
    operator: "founding",
    op: { case: "trust" as const, value: create(TrustSchema, { keys }) },
  };
  return nextRecord(undefined, fields, operator);
}
