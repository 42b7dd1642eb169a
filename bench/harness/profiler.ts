// Loaded into every thread of a node that is profiled (`node --import`): samples what the thread
// runs, between two words of the bench. The process is told SIGUSR2 to begin and once more to end;
// its main thread passes that on, and each thread writes `<thread>.cpuprofile` into
// $BENCH_PROFILE_DIR, which DevTools and speedscope show as a flame graph.

import { writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";
import { BroadcastChannel, isMainThread, threadId, threadName } from "node:worker_threads";

/** A sample is this far from the next, microseconds. */
const SAMPLE_US = 250;

const folder = process.env.BENCH_PROFILE_DIR;
// Workers of the inspect pool get an empty environment, and are not profiled.
if (folder !== undefined) profileIn(folder);

function profileIn(into: string): void {
  const session = new Session();
  session.connect();
  session.post("Profiler.enable");
  session.post("Profiler.setSamplingInterval", { interval: SAMPLE_US });
  let isRunning = false;
  const toggle = (): void => {
    isRunning = !isRunning;
    if (isRunning) session.post("Profiler.start");
    else session.post("Profiler.stop", (error, result) => write(error, result?.profile));
  };
  const write = (error: Error | null, profile: unknown): void => {
    if (error !== null) throw error;
    const name = isMainThread ? "main" : threadName || `thread-${threadId}`;
    writeFileSync(join(into, `${name}.cpuprofile`), JSON.stringify(profile));
  };
  const channel = new BroadcastChannel("bench-profiler");
  channel.unref();
  channel.onmessage = toggle;
  if (!isMainThread) return;
  process.on("SIGUSR2", () => {
    channel.postMessage("toggle");
    toggle();
  });
}
