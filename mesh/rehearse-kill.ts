import { create } from "@bufbuild/protobuf";
import type { Signer } from "../ports/keys.ts";
import { KillSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { parseScope, type Scope } from "../proto/ids.ts";
import { controlSubject, FAST_PREFIX, withPrefix } from "../proto/subjects.ts";
import { type MeshRecord, nextOpened } from "./record.ts";
import { TrustView } from "./trust.ts";

/** No mesh has this name, so these records say nothing to anybody. */
export const REHEARSAL_MESH = "";
export const REHEARSAL_SCOPE = "agent/rehearsal/nobody";
/**
 * After so many the engine has compiled what a kill runs through, if not yet as well as it can: that takes some
 * five times as many, and `keepRehearsed` sees to it.
 */
export const REHEARSALS = 100;

const SUBJECT = withPrefix(controlSubject(parseScope(REHEARSAL_SCOPE) as Scope), FAST_PREFIX);
const CMD_ID = "00000000-0000-7000-8000-000000000000";

/** Trust in which a signer's key is the pinned one: what is signed by it counts there, and nowhere else by that. */
export function rehearsalPin(signer: Signer) {
  return { mesh: REHEARSAL_MESH, operatorPublicKey: signer.publicKey };
}

/** Kills of nobody as a node hears them on the fast path, each of which follows the one before. */
export function* rehearsedKills(
  signer: Signer,
  count: number,
): Generator<{ readonly subject: string; readonly bytes: Uint8Array }, void> {
  const trust = new TrustView(rehearsalPin(signer));
  const context = { mesh: REHEARSAL_MESH, trust, verify: () => true, nowMs: 0 };
  let current: MeshRecord | undefined;
  for (let i = 0; i < count; i += 1) {
    const op = { case: "kill" as const, value: create(KillSchema, { reason: "rehearsal" }) };
    const issued = { cmdId: CMD_ID, issuedAtMs: 0, operator: "", op };
    const fields = { mesh: REHEARSAL_MESH, scope: REHEARSAL_SCOPE, ...issued };
    const made = nextOpened(current, fields, signer, context);
    if (!made.ok) return;
    current = made.record;
    yield { subject: SUBJECT, bytes: current.bytes };
  }
}
