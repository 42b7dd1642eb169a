import type { DiskProbe } from "../../adapters/disk-probe.ts";
import type { HostFacts } from "../../adapters/host-facts.ts";
import type { NatsInfo } from "../../adapters/nats-info.ts";
import { type Finding, fail, ok, skip, warn } from "./finding.ts";

/** Each decision waits for the log's disk for a bounded time; a slower disk makes nodes refuse. */
const SYNC_MS_WARN = 50;
const SYNC_MS_FAIL = 1_000;
const GIB = 2 ** 30;
const FREE_BYTES_WARN = 5 * GIB;
const FREE_BYTES_FAIL = GIB / 2;
/** A node has two sockets a request, and a few hundred files of its own. */
const FILES_WARN = 16_384;
const FILES_FAIL = 1_024;
const NODE_MAJOR_LEAST = 24;
/** From here on a write that was acknowledged in a cluster is one that was compared as well. */
const NATS_LEAST = [2, 11] as const;

/** The runtime of whoever asks: `altrace` and the daemons are started by the same one. */
export function judgeRuntime(version: string): Finding {
  const major = Number(version.split(".")[0]);
  if (major >= NODE_MAJOR_LEAST) return ok("runtime", `Node ${version}`);
  return fail(
    "runtime",
    `Node ${version} is too old`,
    "start altrace through npm, which brings one",
  );
}

export function judgeClock({ isClockKept }: HostFacts): Finding {
  if (isClockKept) return ok("clock", "kept by a time service");
  return warn(
    "clock",
    "no time service was seen (systemd-timesyncd, chrony, ntpd)",
    "run one: keys and windows go by the clock, and reports more than 2 min off are refused",
  );
}

export function judgeFiles({ openFilesMax }: HostFacts): Finding {
  if (openFilesMax === undefined) return skip("open files", "this system does not say");
  const says = `${openFilesMax} open files a process`;
  const todo = `raise it, as by ulimit -n 65536 or LimitNOFILE=65536`;
  if (openFilesMax < FILES_FAIL) return fail("open files", says, todo);
  return openFilesMax < FILES_WARN ? warn("open files", says, todo) : ok("open files", says);
}

/** @param probe A text: why the disk could not be tried. */
export function judgeDisk(probe: DiskProbe | string): readonly Finding[] {
  if (typeof probe === "string") {
    return [
      fail("disk sync", probe, "make HOME's disk writable: nothing is allowed without a log"),
    ];
  }
  const { syncMs, freeBytes } = probe;
  const says = `p50 ${syncMs.p50.toFixed(2)} ms, longest ${syncMs.max.toFixed(2)} ms`;
  const slow = "put HOME on a local disk with a durable write cache";
  const sync =
    syncMs.max >= SYNC_MS_FAIL
      ? fail("disk sync", says, slow)
      : syncMs.p50 >= SYNC_MS_WARN
        ? warn("disk sync", says, slow)
        : ok("disk sync", says);
  const free = `${(freeBytes / GIB).toFixed(1)} GiB free`;
  const full = "free some: a node whose log cannot grow allows nothing";
  if (freeBytes < FREE_BYTES_FAIL) return [sync, fail("disk space", free, full)];
  return [
    sync,
    freeBytes < FREE_BYTES_WARN ? warn("disk space", free, full) : ok("disk space", free),
  ];
}

/** @param state As the probe of a port has it. @param isOurs A node of this HOME answers now. */
export function judgePort(
  name: string,
  port: number,
  { state, isOurs }: { readonly state: string; readonly isOurs: boolean },
): Finding {
  const check = `port ${port}`;
  const elsewhere = "start with another --port-base, or stop what listens there";
  if (state === "free") {
    if (!isOurs) return ok(check, `free for the ${name}`);
    return warn(check, `free, though a node runs: its ${name} is elsewhere`, "say its --port-base");
  }
  if (state === "taken" && isOurs) return ok(check, `taken, as it is while the ${name} runs`);
  if (state === "taken")
    return fail(check, `another program has the port of the ${name}`, elsewhere);
  return fail(check, `may not be bound for the ${name}: ${state}`, elsewhere);
}

/** @param info A text: why nothing was learnt. Undefined: no server was named. */
export function judgeNats(url: string | undefined, info: NatsInfo | string | undefined): Finding {
  if (url === undefined || info === undefined) {
    return skip("nats", "no --nats-url and no ALTRACE_NATS_URL: one process needs none");
  }
  if (typeof info === "string") {
    return fail(
      "nats",
      `${url}: ${info}`,
      "start it with JetStream (nats-server -js), or open the way",
    );
  }
  if (!info.jetstream)
    return fail("nats", `${info.version} without JetStream`, "start it with -js");
  const [major = 0, minor = 0] = info.version.split(".").map(Number);
  const isOld = major < NATS_LEAST[0] || (major === NATS_LEAST[0] && minor < NATS_LEAST[1]);
  if (!isOld) return ok("nats", `${info.version} with JetStream`);
  return warn(
    "nats",
    `${info.version} with JetStream`,
    "a cluster wants 2.11 or newer; alone it is fine",
  );
}
