import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bench } from "./harness/bench.ts";
import { Crowd } from "./harness/crowd.ts";
import { startMesh } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { PARTS_ARE, partsNotes, perRequest } from "./harness/profile-report.ts";
import { threadMicros } from "./harness/thread-time.ts";

const AGENTS = { full: 10_000, short: 4_500 };
/** First requests that are under way at once: enough that no thread waits for another. */
const AT_ONCE = 48;
/** A thread writes some megabytes when its profile ends. */
const WRITE_MS = 3_000;

/**
 * A third of the agents warms up, a third is measured by the kernel's count, a third is sampled. All
 * that takes part is on this machine, so what generator and upstream take is told beside.
 */
export const profileActivation: Bench = {
  name: "profile-activation",
  question: "Where does the processor time of an agent's first request go, thread by thread?",
  run: async ({ isFull }) => {
    const count = isFull ? AGENTS.full : AGENTS.short;
    const third = Math.floor(count / 3);
    const profileDir = mkdtempSync(join(tmpdir(), "altrace-profile-"));
    await using mesh = await startMesh({ crowd: count, profileDir });
    const { pid } = mesh.altrace;
    const { requests } = await Crowd.gather(mesh, { size: count, perSecond: 0, warmUp: 0 });
    await requests.atOnce(third, AT_ONCE);
    const before = threadMicros(pid);
    const ours = process.cpuUsage();
    const startedMs = performance.now();
    await requests.atOnce(third, AT_ONCE);
    const tookMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(ours);
    const figures = perRequest(before, threadMicros(pid), third);
    process.kill(pid, "SIGUSR2");
    await requests.atOnce(third, AT_ONCE);
    process.kill(pid, "SIGUSR2");
    await pause(WRITE_MS);
    requests.close();
    const { refused } = requests;
    return {
      load: `${third} first requests, ${AT_ONCE} at once, then as many profiled`,
      figures: [
        ...figures,
        { name: "generator_and_upstream", value: (user + system) / third, unit: "us" },
        { name: "activations_per_second", value: (third / tookMs) * 1_000, unit: "" },
        { name: "activations_refused", value: refused, unit: "" },
      ],
      notes: [
        ...partsNotes(profileDir, figures),
        PARTS_ARE,
        `Flame graphs: ${profileDir}/*.cpuprofile, for DevTools or speedscope.`,
      ],
    };
  },
};
