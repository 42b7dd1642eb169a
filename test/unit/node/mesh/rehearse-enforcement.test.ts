import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { verifyEd25519 } from "../../../../adapters/ed25519.ts";
import { REHEARSALS } from "../../../../mesh/rehearse-kill.ts";
import { rehearseEnforcement } from "../../../../node/mesh/rehearse-enforcement.ts";
import type { Keys } from "../../../../ports/keys.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { twinSigner } from "../../../../ports/twin-keys.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { noStall } from "./mesh-world.ts";

const signer = twinSigner(Buffer.alloc(32, 7));

async function rehearse(verify: Keys["verify"]) {
  const clock = twinClock();
  const ports = { clock, random: twinRandom(1), stall: noStall, nextTurn, verify };
  const enforced = await rehearseEnforcement(ports, signer);
  return { enforced, timers: clock.pendingTimers };
}

test("every kill is verified and in force, and nothing is left of it", async () => {
  const verify = verifyEd25519;
  const signatures = new Set<string>();
  const { enforced, timers } = await rehearse((publicKey, bytes, signature) => {
    signatures.add(Buffer.from(signature).toString("hex"));
    return verify(publicKey, bytes, signature);
  });
  expect(enforced).toBe(REHEARSALS);
  expect(signatures.size).toBe(REHEARSALS);
  expect(timers).toBe(0);
});

test("a kill whose signature is none is in force nowhere, here neither", async () => {
  expect((await rehearse(() => false)).enforced).toBe(0);
});
