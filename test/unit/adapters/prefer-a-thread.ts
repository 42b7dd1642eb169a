import { readdirSync } from "node:fs";
import { access } from "node:fs/promises";
import { getPriority } from "node:os";
import { preferThisThread } from "../../../adapters/thread-priority.ts";

/** A process of its own, since what this does to threads stays done. `nobody`: without any right. */
if (process.argv[2] === "nobody") {
  process.setgid?.(65_534);
  process.setuid?.(65_534);
}
const told = await preferThisThread();
// Uses libuv's pool: whoever was preferred must not have been the first to do so.
await access("/");
const all = readdirSync("/proc/self/task").map((id) => getPriority(Number(id)));
const own = getPriority(process.pid);
process.stdout.write(JSON.stringify({ told, own, all }));
