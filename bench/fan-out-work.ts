import { jetstream, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { Fleet } from "./fleet/fleet.ts";
import {
  BARE_SUBJECT,
  type EnforcedAt,
  KILL_BYTES,
  REFERENCE_ACK_PREFIX,
  UNSIGNED,
} from "./fleet/fleet-messages.ts";
import { Times } from "./harness/histogram.ts";

const PULL_STREAM = "BENCH_PULL";
const PULL_SUBJECT = "bench.pull";

/** Times of some kills. */
export type Measured = {
  /** From the operator's call to the first node. */
  readonly asked: Times;
  /** From the coordinator's word to the first node. */
  readonly said: Times;
  /** The three parts of the way to the first node: call to word, word to the bus's callback, callback to cell. */
  readonly parts: { readonly call: Times; readonly hop: Times; readonly node: Times };
  /** From the coordinator's word to each node, to the last, and to the last node's ack. */
  readonly each: Times;
  readonly last: Times;
  readonly acked: Times;
  readonly acksPerKill: number;
};

/**
 * Kills one after the other.
 *
 * @param between Is waited for after each.
 * @throws Error A node said that it enforces one, and does not know when.
 */
export async function measureKills(
  fleet: Fleet,
  count: number,
  between: () => Promise<void> = async () => undefined,
): Promise<Measured> {
  const times = { asked: new Times(), said: new Times(), each: new Times() };
  const parts = { call: new Times(), hop: new Times(), node: new Times() };
  const more = { last: new Times(), acked: new Times() };
  let acks = 0;
  for (let i = 0; i < count; i += 1) {
    const { cmdId, askedNs, saidNs, ackedNs } = await fleet.kill();
    const all = await fleet.enforced(cmdId);
    const enforced = all.map(({ atNs }) => atNs);
    if (enforced.length !== fleet.size) throw new Error(`${enforced.length} of ${fleet.size}`);
    const [first] = all.sort((left, right) => left.atNs - right.atNs) as [EnforcedAt];
    parts.call.add(saidNs - askedNs);
    parts.hop.add(first.receivedNs - saidNs);
    parts.node.add(first.atNs - first.receivedNs);
    times.asked.add(Math.min(...enforced) - askedNs);
    times.said.add(Math.min(...enforced) - saidNs);
    for (const atNs of enforced) times.each.add(atNs - saidNs);
    more.last.add(Math.max(...enforced) - saidNs);
    more.acked.add(ackedNs - saidNs);
    acks += fleet.bus.acks;
    await between();
  }
  return { ...times, parts, ...more, acksPerKill: acks / count };
}

/**
 * The least that telling everybody can cost: a core broadcast, and one answer of each.
 *
 * Answers are signed as acks are, and what is answered is checked before. Where many nodes share a machine
 * that is what keeps their answers apart, and answers that come one by one cost a server twice what a burst of
 * them does: it is woken for each. Unsigned ones are measured beside, for what a burst costs.
 */
export async function bareBroadcasts(url: string, size: number) {
  const connection = await connect({ servers: url.split(",") });
  const answers = await answersOf(connection, size);
  return {
    run: async (count: number, kind: "signed" | "unsigned"): Promise<void> => {
      const kill = new Uint8Array(KILL_BYTES).fill(kind === "signed" ? UNSIGNED + 1 : UNSIGNED);
      for (let i = 0; i < count; i += 1) {
        const all = answers.next();
        connection.publish(BARE_SUBJECT, kill);
        await all;
      }
    },
    close: () => connection.close(),
  };
}

/** The same work by a durable pull consumer for each node. */
export async function pulledBroadcasts(
  url: string,
  fleet: Fleet,
  count: number,
  cpu: () => number,
): Promise<{ readonly cpuMs: number; readonly allAcks: Times }> {
  const connection = await connect({ servers: url.split(",") });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    name: PULL_STREAM,
    subjects: [PULL_SUBJECT],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
  });
  await fleet.ask({ t: "pull_connect", stream: PULL_STREAM });
  const answers = await answersOf(connection, fleet.size);
  const allAcks = new Times();
  const before = cpu();
  for (let i = 0; i < count; i += 1) {
    const all = answers.next();
    const startedNs = process.hrtime.bigint();
    await jetstream(connection).publish(PULL_SUBJECT, new Uint8Array(KILL_BYTES));
    await all;
    allAcks.add(process.hrtime.bigint() - startedNs);
  }
  const cpuMs = (cpu() - before) / count / 1_000;
  await fleet.ask({ t: "disconnect" });
  await manager.streams.delete(PULL_STREAM);
  await connection.close();
  return { cpuMs, allAcks };
}

/** `next` resolves when so many answers have come since it was called. */
async function answersOf(connection: NatsConnection, size: number) {
  let left = 0;
  let done: () => void = () => undefined;
  connection.subscribe(`${REFERENCE_ACK_PREFIX}*`, {
    callback: () => {
      left -= 1;
      if (left === 0) done();
    },
  });
  await connection.flush();
  return {
    next: (): Promise<void> => {
      left = size;
      return new Promise((resolve) => {
        done = resolve;
      });
    },
  };
}
