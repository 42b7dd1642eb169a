import { expect, test } from "vitest";
import { ed25519Verifier } from "../../../adapters/ed25519-verifier.ts";
import { REHEARSALS, rehearseKill } from "../../../mesh/rehearse-kill.ts";
import type { Keys } from "../../../ports/keys.ts";
import { twinSigner } from "../../../ports/twin-keys.ts";

const verifyEd25519 = ed25519Verifier();
const signer = twinSigner(Buffer.alloc(32, 7));

test("each kill of a rehearsal is made, verified and merged", () => {
  const asked: string[] = [];
  const verify: Keys["verify"] = (publicKey, bytes, signature) => {
    asked.push(Buffer.from(signature).toString("hex"));
    return verifyEd25519(publicKey, bytes, signature);
  };
  expect(rehearseKill(signer, verify)).toBe(REHEARSALS);
  // Every kill follows the one before, so no two are signed alike.
  expect(asked).toHaveLength(REHEARSALS);
  expect(new Set(asked).size).toBe(REHEARSALS);
});

test("a signature that is none is read by nobody", () => {
  expect(rehearseKill(signer, () => false)).toBe(0);
});
