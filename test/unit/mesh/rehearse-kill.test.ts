import { expect, test } from "vitest";
import { verifyEd25519 } from "../../../adapters/ed25519.ts";
import { openRecord } from "../../../mesh/record.ts";
import { REHEARSALS, rehearsalPin, rehearsedKills } from "../../../mesh/rehearse-kill.ts";
import { MeshState } from "../../../mesh/state.ts";
import { TrustView } from "../../../mesh/trust.ts";
import { twinSigner } from "../../../ports/twin-keys.ts";

const verify = verifyEd25519;
const signer = twinSigner(Buffer.alloc(32, 7));

test("each kill of a rehearsal is signed, and follows the one before", () => {
  const trust = new TrustView(rehearsalPin(signer));
  const state = new MeshState();
  for (const { subject, bytes } of rehearsedKills(signer, REHEARSALS)) {
    const opened = openRecord(bytes, { mesh: trust.mesh, trust, verify, nowMs: 0, subject });
    if (!opened.ok) throw new Error(opened.reason);
    expect(state.merge(opened.record).outcome).toBe("changed");
  }
  expect([...state.records()].map(({ v }) => v)).toEqual([REHEARSALS]);
});

test("none of them says anything to a mesh that has a name", () => {
  const trust = new TrustView({ mesh: "demo", operatorPublicKey: signer.publicKey });
  const [first] = rehearsedKills(signer, REHEARSALS);
  const opened = openRecord(first?.bytes as Uint8Array, { mesh: "demo", trust, verify, nowMs: 0 });
  expect(opened).toMatchObject({ ok: false, reason: "mesh_mismatch" });
});
