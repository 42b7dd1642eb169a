// Many light nodes in one process, told what to do by the bench that forked it.

import { readFileSync } from "node:fs";
import { setPriority } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { REHEARSALS } from "../../mesh/rehearse-kill.ts";
import { openHostStall } from "../../node/mesh/host-stall.ts";
import { rehearseEnforcement } from "../../node/mesh/rehearse-enforcement.ts";
import { FIRST_KILLS } from "../../ports/keep-rehearsed.ts";
import {
  BARE_SUBJECT,
  type EnforcedAt,
  type FleetAnswer,
  type FleetQuestion,
  type FleetSetup,
  type FleetStatus,
  REFERENCE_ACK_BYTES,
  REFERENCE_ACK_PREFIX,
  UNSIGNED,
  WAY_ANSWER,
  WAY_SUBJECT,
} from "./fleet-messages.ts";
import { LightNode, lightNodeId, lightNodeSigner } from "./light-node.ts";
import { sharedStore } from "./shared-store.ts";

const CONNECTS_AT_ONCE = 32;
const ACK = new Uint8Array(REFERENCE_ACK_BYTES);

const setup = JSON.parse(process.argv[2] ?? "") as FleetSetup;
setPriority(setup.niceness);
const numbers = Array.from({ length: setup.count }, (_, i) => setup.from + i);
const alarms: Record<string, number> = {};
const references: NatsConnection[] = [];
// Whoever forked it is gone, which may be so before the first node has started.
process.on("disconnect", () => process.exit(0));
const store = openLmdbStore(setup.homeDir);
const { verify } = fileKeys(setup.homeDir);
const stall = openHostStall(systemClock);
// As a node's mesh thread does before it listens and in the minutes after that; the keys are this process's, and no node's.
const rehearsal = { clock: systemClock, random: cryptoRandom, stall, nextTurn, verify };
await rehearseEnforcement(rehearsal, lightNodeSigner(setup.from), REHEARSALS + FIRST_KILLS);
const nodes = await startNodes();

process.on("message", (question: FleetQuestion) => {
  void answer(question).then((said) => {
    tell(said);
  });
});
tell({ t: "done", id: 0 });

function tell(said: FleetAnswer): void {
  if (process.connected && process.send) process.send(said);
}

async function startNodes(): Promise<readonly LightNode[]> {
  const base = JSON.parse(readFileSync(setup.baseFile, "utf8")) as [string, string][];
  const entries = base.map(([key, hex]) => [key, Buffer.from(hex, "hex")] as const);
  const operatorPublicKey = Buffer.from(setup.operatorPublicKey, "hex");
  const started: LightNode[] = [];
  await eachOf(numbers, async (no) => {
    const node = await LightNode.start({
      no,
      url: setup.url,
      pin: { mesh: setup.mesh, operatorPublicKey },
      store: sharedStore(store, lightNodeId(no), entries),
      verify,
      stall,
      onAlarm: (name) => {
        alarms[name] = (alarms[name] ?? 0) + 1;
      },
    });
    started.push(node);
  });
  return started;
}

async function answer(question: FleetQuestion): Promise<FleetAnswer> {
  const { id } = question;
  switch (question.t) {
    case "status":
      return { t: "status", id, status: status() };
    case "enforced":
      return { t: "enforced", id, times: enforced(question.cmdId) };
    case "bare_connect":
      await eachOf(numbers, connectBare);
      return { t: "done", id };
    case "pull_connect":
      await eachOf(numbers, (no) => connectPull(no, question.stream));
      return { t: "done", id };
    case "way_connect":
      await connectWay();
      return { t: "done", id };
    case "disconnect":
      await Promise.all(references.splice(0).map((connection) => connection.close()));
      return { t: "done", id };
  }
}

function status(): FleetStatus {
  const states: Record<string, number> = {};
  for (const { replica } of nodes) {
    const hash = replica.state.hashHex();
    states[hash] = (states[hash] ?? 0) + 1;
  }
  return {
    open: nodes.filter(({ isOpen }) => isOpen).length,
    up: nodes.filter(({ replica }) => replica.status().busUp).length,
    states,
    rssBytes: process.memoryUsage.rss(),
    alarms,
  };
}

function enforced(cmdId: string): readonly EnforcedAt[] {
  const times = nodes.flatMap((node) => node.enforced.get(cmdId) ?? []);
  for (const node of nodes) node.enforced.clear();
  return times;
}

async function connectBare(no: number): Promise<void> {
  const connection = await connect({ servers: setup.url.split(","), name: `bare ${no}` });
  references.push(connection);
  const signer = lightNodeSigner(no);
  const sig = signer.sign(ACK);
  connection.subscribe(BARE_SUBJECT, {
    callback: (_error, { data }) => {
      if (data[0] !== UNSIGNED) {
        // What no node can leave out: it believes nobody's word, and nobody believes its own.
        verify(signer.publicKey, ACK, sig);
        signer.sign(ACK);
      }
      connection.publish(`${REFERENCE_ACK_PREFIX}${no}`, ACK);
    },
  });
  await connection.flush();
}

async function connectWay(): Promise<void> {
  const connection = await connect({ servers: setup.url.split(","), name: "bare way" });
  references.push(connection);
  connection.subscribe(WAY_SUBJECT, {
    callback: () => {
      const heard = Buffer.alloc(8);
      heard.writeBigInt64BE(systemClock.monoNs());
      connection.publish(WAY_ANSWER, heard);
    },
  });
  await connection.flush();
}

async function connectPull(no: number, stream: string): Promise<void> {
  const connection = await connect({ servers: setup.url.split(","), name: `pull ${no}` });
  references.push(connection);
  const manager = await jetstreamManager(connection);
  const durable = `pull-${no}`;
  await manager.consumers.add(stream, { durable_name: durable, ack_policy: "explicit" });
  const consumer = await jetstream(connection).consumers.get(stream, durable);
  await consumer.consume({
    callback: (message) => {
      connection.publish(`${REFERENCE_ACK_PREFIX}${no}`, ACK);
      message.ack();
    },
  });
}

/** So many at a time: a fleet that comes all at once is a test of its own. */
async function eachOf(all: readonly number[], act: (no: number) => Promise<void>): Promise<void> {
  const left = [...all];
  const work = async (): Promise<void> => {
    for (let no = left.shift(); no !== undefined; no = left.shift()) await act(no);
  };
  await Promise.all(Array.from({ length: CONNECTS_AT_ONCE }, work));
}
