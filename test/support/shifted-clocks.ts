// Loaded into a thread before its own program: its wall clock and the time since the machine's boot are off by
// what the test writes into shared memory. The monotonic clock, which stands still in a sleep, is the machine's.

import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { workerData } from "node:worker_threads";

/** Milliseconds, by which the wall clock and the time since boot are ahead. */
const ahead = new Float64Array((workerData as { readonly ahead: SharedArrayBuffer }).ahead);
const wallMs = Date.now.bind(Date);
const bootS = os.uptime.bind(os);

Date.now = () => wallMs() + (ahead[0] as number);
os.uptime = () => bootS() + (ahead[1] as number) / 1_000;
syncBuiltinESMExports();
