import { expect, test } from "vitest";
import type { MeshAnswer } from "../../../node/mesh-status.ts";
import { LIFE_TIMEOUT_MS, MeshThreadLink } from "../../../node/mesh-thread-link.ts";
import type { ControlToMesh, MeshToControl } from "../../../node/thread-messages.ts";
import type { ThreadPort } from "../../../node/thread-port.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const ASK_MS = 60_000;
const REPLY: MeshAnswer = { bytes: Uint8Array.of(1), kid: "k1" };
const STATUS = {
  ...{ open: true, busUp: true, digestAgeMs: 1, lastSeq: 0, stateHash: "", closedBecause: [] },
  coordinators: { names: [], trusted: 0 },
};

/** The control thread's end of a mesh thread that does what the test says. */
function world() {
  const clock = twinClock();
  const posted: ControlToMesh[] = [];
  let hear: (message: MeshToControl) => void = () => undefined;
  const port = {
    postMessage: (message: ControlToMesh) => posted.push(message),
    on: (_: string, fn: typeof hear) => {
      hear = fn;
    },
  };
  const link = new MeshThreadLink(port as unknown as ThreadPort, clock);
  const idOf = (t: "ask" | "status"): number => {
    const found = posted.findLast((one) => one.t === t);
    return found !== undefined && "id" in found ? found.id : -1;
  };
  const ask = () => link.ask("lease", Uint8Array.of(1), ASK_MS);
  return { clock, posted, link, idOf, ask, hear: (message: MeshToControl) => hear(message) };
}

test("a thread that answers in time is asked on, and what was asked of it stays open", async () => {
  const { clock, link, idOf, ask, hear } = world();
  const before = ask();
  const beforeId = idOf("ask");
  const lives = link.lives();
  clock.advance(LIFE_TIMEOUT_MS - 1);
  hear({ t: "status", id: idOf("status"), status: STATUS });
  expect(await lives).toBe(true);
  expect(link.isGivenUp).toBe(false);
  hear({ t: "answer", id: beforeId, reply: REPLY, fault: undefined });
  expect(await before).toBe(REPLY);
  const after = ask();
  hear({ t: "answer", id: idOf("ask"), reply: REPLY, fault: undefined });
  expect(await after).toBe(REPLY);
});

test("one that does not has answered all that it was asked, and is asked nothing more", async () => {
  const { clock, posted, link, ask } = world();
  const [one, two] = [ask(), ask()];
  const lives = link.lives();
  clock.advance(LIFE_TIMEOUT_MS);
  expect(await lives).toBe(false);
  expect(link.isGivenUp).toBe(true);
  // No time passes any more.
  expect(await Promise.all([one, two])).toEqual([undefined, undefined]);
  const before = posted.length;
  expect(await ask()).toBeUndefined();
  expect(posted).toHaveLength(before);
  expect(clock.pendingTimers).toBe(0);
});

test("a thread has ended once it has said that all of it is closed", async () => {
  const { posted, link, hear } = world();
  const stopped = link.stop();
  expect(posted.at(-1)).toEqual({ t: "stop" });
  hear({ t: "ready" });
  expect(await Promise.race([stopped, Promise.resolve("not yet")])).toBe("not yet");
  hear({ t: "stopped" });
  expect(await stopped).toBe(true);
});
