import { create } from "@bufbuild/protobuf";
import type { Keys, Signer } from "../ports/keys.ts";
import { KillSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { parseScope, type Scope } from "../proto/ids.ts";
import { controlSubject, FAST_PREFIX, withPrefix } from "../proto/subjects.ts";
import { nextOpened, openRecord } from "./record.ts";
import { MeshState } from "./state.ts";
import { TrustView } from "./trust.ts";

/** No mesh has this name, so these records say nothing to anybody. */
const MESH = "";
const SCOPE = "agent/rehearsal/nobody";
const SUBJECT = withPrefix(controlSubject(parseScope(SCOPE) as Scope), FAST_PREFIX);
const CMD_ID = "00000000-0000-7000-8000-000000000000";
/** After so many the engine has compiled what a kill runs through. */
export const REHEARSALS = 100;

/**
 * Makes and reads kills of nobody, in a mesh and a state of their own, which are then forgotten. A kill is rare:
 * the first one after a start would else run as code that nothing has compiled, and take longer than it may.
 *
 * @param signer Its key is a mesh's pinned one here, and nowhere else by this.
 * @returns How many kills were read, each of them after its signature was verified.
 */
export function rehearseKill(signer: Signer, verify: Keys["verify"]): number {
  const trust = new TrustView({ mesh: MESH, operatorPublicKey: signer.publicKey });
  const context = { mesh: MESH, trust, verify, nowMs: 0 };
  // As a coordinator asks of what it has signed itself: whose key it is, and not whether the signature is good.
  const own = (key: Uint8Array) => Buffer.compare(key, signer.publicKey) === 0;
  const state = new MeshState();
  let read = 0;
  for (let i = 0; i < REHEARSALS; i += 1) {
    const op = { case: "kill" as const, value: create(KillSchema, { reason: "rehearsal" }) };
    const fields = { mesh: MESH, scope: SCOPE, cmdId: CMD_ID, issuedAtMs: 0, operator: "", op };
    const made = nextOpened(state.get(SCOPE), fields, signer, { ...context, verify: own });
    if (!made.ok) break;
    const opened = openRecord(made.record.bytes, { ...context, subject: SUBJECT });
    if (opened.ok && state.merge(opened.record).changed) read += 1;
  }
  return read;
}
