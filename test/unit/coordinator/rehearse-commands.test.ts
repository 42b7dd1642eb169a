import { expect, test } from "vitest";
import { ed25519Verifier } from "../../../adapters/ed25519-verifier.ts";
import { createBusHub } from "../../../adapters/in-process-bus.ts";
import { rehearseCommands } from "../../../coordinator/rehearse-commands.ts";
import { REHEARSALS } from "../../../mesh/rehearse-kill.ts";
import type { BusMessage } from "../../../ports/bus.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinSigner } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { COMMITTED_PATTERN, FAST_PATTERN } from "../../../proto/subjects.ts";

const signer = twinSigner(Buffer.alloc(32, 7));

test("every kill is said, committed and done with", async () => {
  const clock = twinClock();
  const hub = createBusHub(undefined, clock);
  const heard: BusMessage[] = [];
  for (const pattern of [FAST_PATTERN, COMMITTED_PATTERN]) {
    hub.connect().listen(pattern, (message) => heard.push(message));
  }
  const ports = { clock, random: twinRandom(1), verify: ed25519Verifier(), bus: hub.connect() };
  expect(await rehearseCommands(ports, signer)).toBe(REHEARSALS);
  expect(clock.pendingTimers).toBe(0);
  await hub.close();
  expect(heard.filter(({ seq }) => seq === undefined)).toHaveLength(REHEARSALS);
  expect(heard.filter(({ seq }) => seq !== undefined)).toHaveLength(REHEARSALS);
});
