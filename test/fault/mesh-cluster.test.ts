import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ensureStreams } from "../../adapters/nats-streams.ts";
import { restoreRecord } from "../../mesh/record.ts";
import { CONTROL_STREAM, controlSubject } from "../../proto/subjects.ts";
import {
  ensureReplicatedStreams,
  type NatsCluster,
  startNatsCluster,
} from "../support/nats-cluster.ts";
import { NATS_PROGRAMS } from "../support/nats-programs.ts";
import { proofCount } from "../support/proof.ts";
import type { NatsServer } from "../support/start-nats.ts";
import { stopProcess } from "../support/stop-process.ts";
import { waitUntil } from "../support/wait-until.ts";
import {
  type Cleanups,
  comes,
  DEAD_MAN_MS,
  isDone,
  isStored,
  type MeshOfThreads,
  type MeshThreadNode,
  opensWithoutKill,
  reviveGlobal,
  startMesh,
  startNode,
} from "./mesh-threads.ts";

// Three servers hold every stream together, and one of them sleeps or dies while records are said.
//
// K2. A node that closed does not open again without the kill.
// K6. A revive is in force nowhere before the stream holds it.

const { count: ROUNDS } = proofCount("servers that fail", { small: 1, full: 5 });
const ALL = controlSubject({ kind: "global" });
const KILLS = 20;

const cleanups: Cleanups = [];
let mesh: MeshOfThreads;
let node: MeshThreadNode;

const kill = (scope: string) => mesh.calls.kill({ scope, reason: "test", operator: "test" });
const killGlobal = () => kill("global");

async function revived(): Promise<void> {
  await reviveGlobal(mesh);
  await comes(() => node.isOpen && !node.isKilled);
}

describe.each(NATS_PROGRAMS)("three servers, $name:", ({ program, absent }) => {
  let cluster: NatsCluster;
  /** The only one that the node knows. */
  let follower: NatsServer;

  beforeAll(async () => {
    if (absent !== undefined) return;
    cluster = await startNatsCluster(program === undefined ? {} : { program });
    cleanups.push(() => cluster[Symbol.asyncDispose]());
    mesh = await startMesh({ nats: cluster, cleanups, ensure: ensureReplicatedStreams });
  }, 60_000);
  afterAll(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  beforeEach((context) => context.skip(absent !== undefined, absent));
  afterEach(() => {
    for (const { pid } of cluster.servers) if (pid !== undefined) process.kill(pid, "SIGCONT");
  });

  for (let round = 1; round <= ROUNDS; round += 1) {
    test(`a leader that sleeps keeps no kill from a node, and nothing is undone when it wakes (${round})`, async () => {
      const leader = await leaderNow();
      follower = cluster.servers.find((server) => server !== leader) as NatsServer;
      node = await startNode(mesh, `n${round}`, follower.url);
      await stopProcess(leader.pid as number);
      const said = await killGlobal();
      await comes(() => node.isKilled);
      const hasOpened = await opensWithoutKill(node, async () => {
        process.kill(leader.pid as number, "SIGCONT");
        await isDone(mesh, said.command?.cmdId ?? "");
        await comes(() => node.isOpen);
      });
      expect(hasOpened).toBe(false);
      await revived();
    }, 120_000);

    test(`a node behind a follower that slept does not open by what that one has (${round})`, async () => {
      await stopProcess(follower.pid as number);
      const said = await killGlobal();
      // A digest from before the kill lies in the follower too, and opens a node for as long as it is younger
      // than the dead man's time: that is what containment means. After that nothing may.
      await sleep(DEAD_MAN_MS);
      await comes(() => !node.isOpen);
      expect(node.isKilled).toBe(false);
      const hasOpened = await opensWithoutKill(node, async () => {
        process.kill(follower.pid as number, "SIGCONT");
        await comes(() => node.isOpen && node.isKilled);
      });
      expect(hasOpened).toBe(false);
      await isDone(mesh, said.command?.cmdId ?? "");
      await revived();
      await node.stop();
    }, 120_000);

    test(`K2, K6: a leader that dies amid kills keeps none from a node, brings no revive forward, and comes back with all of them (${round})`, async () => {
      const leader = await leaderNow();
      const [near, third] = cluster.servers.filter((server) => server !== leader);
      node = await startNode(mesh, `d${round}`, near?.url);
      const calls: ReturnType<typeof kill>[] = [];
      for (let no = 0; no < KILLS; no += 1) calls.push(kill(`agent/out-${round}/a${no}`));
      const [, said] = await Promise.all([leader.kill(), Promise.all(calls), killGlobal()]);
      await comes(() => node.isKilled);
      // Nobody may lead the streams now: the revive is in force once one does, and has it stored.
      await reviveGlobal(mesh);
      await comes(() => !node.isKilled);
      expect(await opInStream()).toBe("revive");
      for (const { command } of said) await isStored(mesh, command?.cmdId ?? "");
      await leader.restart();
      await waitUntil("the server that died to have all", areAllCurrent);
      // From now on nothing is stored without it.
      await third?.kill();
      const last = await killGlobal();
      await comes(() => node.isKilled);
      await isStored(mesh, last.command?.cmdId ?? "");
      await isDone(mesh, last.command?.cmdId ?? "");
      await revived();
      await third?.restart();
      await waitUntil("the other one to have all", areAllCurrent);
      const held = await mesh.inStreams();
      const scopes = Array.from({ length: KILLS }, (_, no) => `agent/out-${round}/a${no}`);
      expect([...held.keys()]).toEqual(expect.arrayContaining(scopes));
      await node.stop();
      const journal = await node.journal();
      expect(journal).toEqual(held);
    }, 180_000);
  }

  /** Whether every stream's leader has heard of both others that they hold what it holds. */
  async function areAllCurrent(): Promise<boolean> {
    try {
      return (await ensureStreams(mesh.bus, { replicas: 3 })).size === 0;
    } catch {
      return false;
    }
  }

  async function opInStream(): Promise<string | undefined> {
    const last = await mesh.bus.last(CONTROL_STREAM, ALL);
    const read = last && restoreRecord(last.bytes, { mesh: "nats-mesh" });
    return read?.ok ? read.record.op.case : undefined;
  }

  async function leaderNow(): Promise<NatsServer> {
    const leader = await cluster.leaderOf(mesh.bus, CONTROL_STREAM);
    if (leader === undefined) throw new Error("the streams have no leader");
    return leader;
  }
});
