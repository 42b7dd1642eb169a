import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Wish } from "./fixtures/upstream.ts";
import { allowedLoad, CONNECTIONS } from "./harness/allowed-load.ts";
import type { Bench } from "./harness/bench.ts";
import { type MeshUnderTest, startMesh } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { PARTS_ARE, partsNotes, perRequest } from "./harness/profile-report.ts";
import { threadMicros } from "./harness/thread-time.ts";

const SLICE_MS = { full: 10_000, short: 4_000 };
/** What runs often is compiled again, and better, for some seconds. */
const WARM_UP_MS = { full: 15_000, short: 5_000 };
/** A thread writes some megabytes when its profile ends. */
const WRITE_MS = 3_000;
/** Whoever lends stands still while it begins and ends to be sampled: no request is to be refused for that. */
const RESERVE_WAIT_MS = 5_000;

export const profileJson = profileBench("profile-json", "answer", "a small JSON request");
export const profileSse = profileBench("profile-sse", "stream", "a stream of 100 chunks");

/** Processor time by thread, from the kernel and unprofiled; then by part, from samples. */
function profileBench(name: string, wish: Wish, what: string): Bench {
  return {
    name,
    question: `Where does the processor time of ${what} go, thread by thread and part by part?`,
    run: async ({ isFull, durationMs }) => {
      const size = isFull ? "full" : "short";
      const sliceMs = durationMs ?? SLICE_MS[size];
      const profileDir = mkdtempSync(join(tmpdir(), "altrace-profile-"));
      await using mesh = await startMesh({ profileDir, reserveWaitMs: RESERVE_WAIT_MS });
      const { pid } = mesh.altrace;
      await ask(mesh, wish, WARM_UP_MS[size]);
      const before = threadMicros(pid);
      const requests = await ask(mesh, wish, sliceMs);
      const figures = perRequest(before, threadMicros(pid), requests);
      process.kill(pid, "SIGUSR2");
      const profiled = await ask(mesh, wish, sliceMs);
      process.kill(pid, "SIGUSR2");
      await pause(WRITE_MS);
      return {
        load: `${requests} requests on ${CONNECTIONS} connections, then ${profiled} profiled`,
        figures,
        notes: [
          ...partsNotes(profileDir, figures),
          PARTS_ARE,
          `Flame graphs: ${profileDir}/*.cpuprofile, for DevTools or speedscope.`,
        ],
      };
    },
  };
}

function ask(mesh: MeshUnderTest, wish: Wish, ms: number): Promise<number> {
  const { keys, altrace } = mesh;
  return allowedLoad({ origin: altrace.ready.gateway, key: keys.neighbour, wish, ms });
}
