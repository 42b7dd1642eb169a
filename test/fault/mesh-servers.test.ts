import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectNatsBus } from "../../adapters/nats-bus.ts";
import { freePort } from "../../bench/harness/free-ports.ts";
import { CONTROL_STREAM, controlSubject } from "../../proto/subjects.ts";
import { FaultyLink, type LinkFault } from "../support/faulty-link.ts";
import { NATS_PROGRAMS } from "../support/nats-programs.ts";
import { proofCount } from "../support/proof.ts";
import { type NatsServer, startNats } from "../support/start-nats.ts";
import { tempDir } from "../support/temp-dir.ts";
import {
  type Cleanups,
  comes,
  isDone,
  isStored,
  type MeshOfThreads,
  type MeshThreadNode,
  opensWithoutKill,
  reviveGlobal,
  startMesh,
  startNode,
} from "./mesh-threads.ts";

// Servers, their disks, and what stands between them and a node fail while a kill is said.
//
// K2. A node that closed does not open again without the kill.
// K7. A node that is cut off closes, or has the kill.

const FAULTS = ["reset", "black_hole", "deaf", "mute", "late", "drip"] as const;
const LINKS = proofCount("links that fail", { small: 2, full: 24 });
const SLOW_CONSUMER = 'max_pending: 1MB\nwrite_deadline: "500ms"';
const STORE_MIB = 16;
const MIB = new Uint8Array(2 ** 20);

const cleanups: Cleanups = [];
let mesh: MeshOfThreads;
let node: MeshThreadNode;

async function endAll(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

const killGlobal = () => mesh.calls.kill({ scope: "global", reason: "test", operator: "test" });

async function revived(): Promise<void> {
  await reviveGlobal(mesh);
  await comes(() => node.isOpen && !node.isKilled);
}

describe("one server", () => {
  let nats: NatsServer;
  let link: FaultyLink;
  let monitorPort: number;

  beforeAll(async () => {
    monitorPort = await freePort();
    nats = await startNats({ config: `${SLOW_CONSUMER}\nhttp: "127.0.0.1:${monitorPort}"` });
    cleanups.push(() => nats[Symbol.asyncDispose]());
    link = await FaultyLink.to(nats.port);
    cleanups.push(() => link[Symbol.asyncDispose]());
    mesh = await startMesh({ nats, cleanups });
    node = await startNode(mesh, "far", link.url);
  }, 60_000);
  afterAll(endAll);

  // One kind after another, from where the seed says, so that few rounds are of different kinds.
  for (let round = 0; round < LINKS.count; round += 1) {
    const fault = FAULTS[(LINKS.seed + round) % FAULTS.length] as LinkFault;
    test(`K2, K7: behind a link that is ${fault} a node closes, or is killed (round ${round}, seed ${LINKS.seed})`, async () => {
      await killedBehind(fault, async () => undefined);
    }, 120_000);
  }

  test("K2: a node that does not read is cut off by its server, and has the kill when it reads again", async () => {
    const bus = await connectNatsBus({ url: nats.url, name: "flood" });
    const piece = randomBytes(900_000);
    try {
      await killedBehind("stalled", async () => {
        // More than the sockets between them hold, so that it piles up in the server.
        for (let sent = 0; (await slowConsumers()) === 0; sent += 1) {
          if (sent > 100) throw new Error("the server did not cut a node that reads nothing");
          bus.send("alt.fast.kill.team.flood", piece);
          await sleep(20);
        }
      });
    } finally {
      await bus.close();
    }
  }, 120_000);

  test("whose store goes back to an earlier state hides no kill, and gets back what it lost", async () => {
    const earlier = tempDir();
    cleanups.push(() => earlier[Symbol.dispose]());
    await nats.kill();
    cpSync(nats.storeDir, earlier.path, { recursive: true });
    await nats.restart();
    await node.opens();
    const lost = await mesh.calls.kill({ scope: "team/lost", reason: "test", operator: "test" });
    await isStored(mesh, lost.command?.cmdId ?? "");
    const subject = controlSubject({ kind: "team", team: "lost" });
    const before = await mesh.bus.last(CONTROL_STREAM, subject);
    expect(before?.seq).toBeGreaterThan(0);
    await nats.kill();
    for (const name of readdirSync(nats.storeDir)) {
      rmSync(join(nats.storeDir, name), { recursive: true });
    }
    cpSync(earlier.path, nats.storeDir, { recursive: true });
    // Accepted while there is no server, and said and stored as soon as there is one.
    const kill = await killGlobal();
    await nats.restart();
    await comes(() => node.isKilled);
    await isStored(mesh, kill.command?.cmdId ?? "");
    const after = await reads(subject);
    expect(after).toEqual(Buffer.from(before?.bytes ?? "none"));
    const global = await mesh.bus.last(CONTROL_STREAM, controlSubject({ kind: "global" }));
    // Numbers were given out a second time: there are more records than numbers since.
    const given = Number(before?.seq);
    expect(global?.seq).toBeLessThanOrEqual(given + 1);
    await node.opens();
    await revived();
  }, 120_000);

  /** Kills everything while the fault is on, mends it, and revives. */
  async function killedBehind(fault: LinkFault, beside: () => Promise<void>): Promise<void> {
    link.set(fault);
    await beside();
    const { command } = await killGlobal();
    await comes(() => node.isKilled || !node.isOpen);
    const hasOpened = await opensWithoutKill(node, async () => {
      link.set(undefined);
      await comes(() => node.isOpen && node.isKilled);
    });
    expect(hasOpened).toBe(false);
    await isDone(mesh, command?.cmdId ?? "");
    await revived();
  }

  /** Connections that the server has cut because they did not take what was sent to them. */
  async function slowConsumers(): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${monitorPort}/varz`);
    return ((await answer.json()) as { readonly slow_consumers: number }).slow_consumers;
  }
});

// A server whose write of a record was cut short takes no more for that stream until it is started again: 2.9 answers
// nobody who asks for it, 2.15 calls it a critical write error, reads as ever and answers no append. Only the first
// write into a new block leaves no trace, and there are records before.
describe.each(NATS_PROGRAMS)(
  "$name, its disk full in the middle of a page,",
  ({ program, absent }) => {
    const folder = tempDir();
    const isMounted = absent === undefined && mounted(folder.path);
    afterAll(async () => {
      await endAll();
      if (isMounted) execFileSync("umount", ["-l", folder.path]);
      folder[Symbol.dispose]();
    });

    test("stores nothing and the operator sees it; kills are in force, and are stored once it was started again with room", async (context) => {
      context.skip(absent !== undefined, absent);
      context.skip(!isMounted, "a small file system can be mounted by root alone");
      const storeDir = join(folder.path, "js");
      const nats = await startNats({ storeDir, ...(program === undefined ? {} : { program }) });
      cleanups.push(() => nats[Symbol.asyncDispose]());
      mesh = await startMesh({ nats, cleanups });
      node = await startNode(mesh, "near");
      const filler = join(storeDir, "filler");
      fill(filler);
      const stuck = await killUntilStuck();
      const kill = await killGlobal();
      expect(kill.command).toMatchObject({ accepted: true, committed: false });
      await comes(() => node.isKilled);
      expect(await gauge("commands_uncommitted")).toBe(2);
      expect(await gauge("commands_uncommitted_age_seconds")).toBeGreaterThan(0);
      expect(await gauge("stream_unanswered_seconds")).toBeGreaterThan(0);
      rmSync(filler);
      await nats.kill();
      await nats.restart();
      await isStored(mesh, stuck);
      await isStored(mesh, kill.command?.cmdId ?? "");
      expect(await reads(controlSubject({ kind: "global" }))).not.toHaveLength(0);
      await node.opens();
      await revived();
      expect(await gauge("commands_uncommitted")).toBe(0);
      expect(await gauge("stream_unanswered_seconds")).toBe(0);
    }, 120_000);

    /** Kills one agent after another until the stream does not take one, and returns that one's command. */
    async function killUntilStuck(): Promise<string> {
      for (let i = 0; i < 500; i += 1) {
        const scope = `agent/full/a${i}`;
        const { command } = await mesh.calls.kill({ scope, reason: "test", operator: "test" });
        while ((await gauge("commands_uncommitted")) > 0) {
          if ((await gauge("stream_unanswered_seconds")) > 0) return command?.cmdId ?? "";
          await sleep(20);
        }
      }
      throw new Error("a full disk takes everything");
    }

    /** Of the control stream, as it is scraped. */
    async function gauge(name: string): Promise<number> {
      const line = new RegExp(`^altrace_mesh_${name}{stream="${CONTROL_STREAM}"} (.+)$`, "m");
      return Number(line.exec(await mesh.metrics())?.[1]);
    }
  },
);

/** What the stream holds, as soon as it answers and holds something. */
async function reads(subject: string): Promise<Buffer> {
  let found: Uint8Array | undefined;
  let isAsking = false;
  await comes(() => {
    if (!isAsking) {
      isAsking = true;
      mesh.bus
        .last(CONTROL_STREAM, subject)
        .then(
          (last) => {
            found = last?.bytes;
          },
          () => undefined,
        )
        .finally(() => {
          isAsking = false;
        });
    }
    return found !== undefined;
  });
  return Buffer.from(found ?? "");
}

function mounted(folder: string): boolean {
  const options = ["-t", "tmpfs", "-o", `size=${STORE_MIB}m,mode=0700`, "tmpfs", folder];
  try {
    execFileSync("mount", options, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Takes all the room that there is. */
function fill(path: string): void {
  for (let size = MIB.length; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) writeFileSync(path, MIB.subarray(0, size), { flag: "a" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }
}
