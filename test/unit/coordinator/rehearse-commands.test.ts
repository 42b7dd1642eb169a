import { expect, test } from "vitest";
import { verifyEd25519 } from "../../../adapters/ed25519.ts";
import { createBusHub } from "../../../adapters/in-process-bus.ts";
import { rehearseCommands } from "../../../coordinator/rehearse-commands.ts";
import { REHEARSALS } from "../../../mesh/rehearse-kill.ts";
import type { BusMessage } from "../../../ports/bus.ts";
import { twinBus } from "../../../ports/twin-bus.ts";
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
  const ports = { clock, random: twinRandom(1), verify: verifyEd25519, bus: hub.connect() };
  expect(await rehearseCommands(ports, signer)).toBe(REHEARSALS);
  expect(clock.pendingTimers).toBe(0);
  await hub.close();
  expect(heard.filter(({ seq }) => seq === undefined)).toHaveLength(REHEARSALS);
  expect(heard.filter(({ seq }) => seq !== undefined)).toHaveLength(REHEARSALS);
});

test("other work has its turn between two of them", async () => {
  const clock = twinClock();
  const hub = createBusHub(undefined, clock);
  const ports = { clock, random: twinRandom(1), verify: verifyEd25519, bus: hub.connect() };
  let [turns, isOver] = [0, false];
  const take = (): void => {
    turns += 1;
    if (!isOver) setImmediate(take);
  };
  setImmediate(take);
  expect(await rehearseCommands(ports, signer, 10)).toBe(10);
  isOver = true;
  await hub.close();
  expect(turns).toBeGreaterThanOrEqual(9);
});

test("where one is not committed in time, no other is waited for", async () => {
  const clock = twinClock();
  const hub = createBusHub(undefined, clock);
  const bus = twinBus(hub.connect(), { appendFate: () => "not_stored" });
  const ports = { clock, random: twinRandom(1), verify: verifyEd25519, bus };
  const done = rehearseCommands(ports, signer);
  let [seconds, isOver] = [0, false];
  void done.then(() => {
    isOver = true;
  });
  for (; !isOver && seconds < 10; seconds += 1) {
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    if (!isOver) clock.advance(1_000);
  }
  expect(await done).toBe(0);
  expect(seconds).toBeLessThan(5);
  await hub.close();
});
