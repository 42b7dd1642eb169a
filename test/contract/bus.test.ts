import { MessageChannel } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { busOverPort } from "../../adapters/bus-over-port.ts";
import { PAYLOAD_BYTES_MAX } from "../../adapters/bus-subject.ts";
import { type BusHub, createBusHub } from "../../adapters/in-process-bus.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { connectNatsBus, type NatsBus } from "../../adapters/nats-bus.ts";
import { ensureStreams } from "../../adapters/nats-streams.ts";
import { type Bus, BusFault, type BusMessage } from "../../ports/bus.ts";
import type { Store } from "../../ports/store.ts";
import { twinBus } from "../../ports/twin-bus.ts";
import {
  CONTROL_STREAM,
  JOURNAL_STREAM,
  LEADER_STREAM,
  REVOCATION_STREAM,
} from "../../proto/subjects.ts";
import { comesTrue } from "../support/comes-true.ts";
import { ensureReplicatedStreams, startNatsCluster } from "../support/nats-cluster.ts";
import { NATS_CURRENT, NATS_ON_PATH, type NatsProgram } from "../support/nats-programs.ts";
import { proofCount } from "../support/proof.ts";
import { startNats } from "../support/start-nats.ts";
import { tempDir } from "../support/temp-dir.ts";

/** A transport that lasts for the whole suite; each test takes connections of its own. */
type Transport = {
  connect(): Promise<Bus>;
  close(): Promise<void>;
};

async function inProcess(wrap: (hub: BusHub) => Promise<Bus>): Promise<Transport> {
  const dir = tempDir();
  const store: Store = openLmdbStore(dir.path);
  const hub = createBusHub(store);
  return {
    connect: () => wrap(hub),
    close: async () => {
      await hub.close();
      await store.close();
      dir[Symbol.dispose]();
    },
  };
}

const TRANSPORTS: { readonly [name: string]: () => Promise<Transport> } = {
  "in-process hub": () => inProcess(async (hub) => hub.connect()),
  "in-process hub over a MessagePort": () =>
    inProcess(async (hub) => {
      const { port1, port2 } = new MessageChannel();
      hub.attach(port1);
      return busOverPort(port2);
    }),
  "twin without faults": () => inProcess(async (hub) => twinBus(hub.connect())),
  [NATS_ON_PATH.name]: () => oneServer(NATS_ON_PATH),
  [NATS_CURRENT.name]: () => oneServer(NATS_CURRENT),
  [`three of ${NATS_ON_PATH.name}`]: () => threeServers(NATS_ON_PATH),
  [`three of ${NATS_CURRENT.name}`]: () => threeServers(NATS_CURRENT),
};

async function oneServer({ program }: NatsProgram): Promise<Transport> {
  const server = await startNats(program === undefined ? {} : { program });
  const provisioner = await connectNatsBus({ url: server.url, name: "provisioner" });
  await ensureStreams(provisioner, { replicas: 1 });
  return onNats(server, server, provisioner);
}

async function threeServers({ program }: NatsProgram): Promise<Transport> {
  const cluster = await startNatsCluster(program === undefined ? {} : { program });
  const provisioner = await connectNatsBus({ url: cluster.url, name: "provisioner" });
  await ensureReplicatedStreams(provisioner);
  // All on one server: what one connection listens to is known to other servers only a little later.
  // The streams are led by whichever server it is.
  return onNats(cluster, cluster.servers[0] ?? cluster, provisioner);
}

function onNats(
  started: AsyncDisposable,
  server: { readonly url: string },
  provisioner: NatsBus,
): Transport {
  return {
    connect: () => connectNatsBus({ url: server.url, name: "contract" }),
    close: async () => {
      await provisioner.close();
      await started[Symbol.asyncDispose]();
    },
  };
}

const { count: CLUSTERS } = proofCount("the bus on three servers", { small: 1, full: 2 });

/** Said instead of run, with the reason in the title. */
function skipped(name: string): string | undefined {
  if (name.endsWith(NATS_CURRENT.name) && NATS_CURRENT.absent) return NATS_CURRENT.absent;
  return name.startsWith("three") && CLUSTERS < 2 && name.endsWith(NATS_CURRENT.name)
    ? "npm run proof runs it"
    : undefined;
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const text = (data: Uint8Array): string => Buffer.from(data).toString();

let tests = 0;
/** A token no other test has, so that tests share a server and not their subjects. */
function unique(): string {
  tests += 1;
  return `t${tests}`;
}

async function faultOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BusFault);
  return (error as BusFault).code;
}

for (const name of Object.keys(TRANSPORTS)) {
  const reason = skipped(name);
  if (reason) test.skip(`bus on ${name}: ${reason}`, () => undefined);
}

const RUN = Object.entries(TRANSPORTS).filter(([name]) => skipped(name) === undefined);

describe.each(RUN)("bus on %s", (_name, open) => {
  let transport: Transport;
  const connections: Bus[] = [];
  beforeAll(async () => {
    transport = await open();
  }, 60_000);
  afterAll(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await transport.close();
  });

  async function connect(): Promise<Bus> {
    const bus = await transport.connect();
    connections.push(bus);
    return bus;
  }

  /** Listens, and waits until the other end knows. */
  async function hear(bus: Bus, pattern: string): Promise<BusMessage[]> {
    const heard: BusMessage[] = [];
    bus.listen(pattern, (message) => heard.push(message));
    await settle(bus);
    return heard;
  }

  /** A replica may answer a read before it has everything, so a read is repeated until it has. */
  function comes(isRead: () => Promise<void>): Promise<void> {
    return comesTrue(isRead);
  }

  /** After a round trip everything this connection sent before has been taken in. */
  async function settle(bus: Bus): Promise<void> {
    const subject = `settle.${unique()}`;
    const stop = bus.listen(subject, ({ respond }) => respond?.(bytes("")));
    await bus.ask(subject, bytes(""), 5_000);
    stop();
  }

  test("a message reaches every listener whose pattern names its subject, and no other", async () => {
    const [sender, receiver] = [await connect(), await connect()];
    const t = unique();
    const heard: string[] = [];
    const note = (pattern: string) =>
      receiver.listen(pattern, ({ subject }) => heard.push(`${pattern} < ${subject}`));
    for (const p of [`${t}.a`, `${t}.*`, `${t}.>`, `${t}.*.c`, `${t}.a.*`]) note(p);
    await settle(receiver);
    sender.send(`${t}.a`, bytes("1"));
    sender.send(`${t}.b.c`, bytes("2"));
    sender.send(t, bytes("3"));
    await settle(sender);
    await settle(receiver);
    expect(heard.sort()).toEqual(
      [
        `${t}.* < ${t}.a`,
        `${t}.*.c < ${t}.b.c`,
        `${t}.> < ${t}.a`,
        `${t}.> < ${t}.b.c`,
        `${t}.a < ${t}.a`,
      ].sort(),
    );
  });

  test("messages of one sender arrive whole and in order", async () => {
    const [sender, receiver] = [await connect(), await connect()];
    const t = unique();
    const heard = await hear(receiver, t);
    for (let n = 0; n < 2_000; n += 1) sender.send(t, Uint8Array.of(n >> 8, n & 255));
    await comesTrue(() => expect(heard).toHaveLength(2_000));
    expect(heard.map((m) => ((m.bytes[0] as number) << 8) | (m.bytes[1] as number))).toEqual(
      Array.from({ length: 2_000 }, (_, n) => n),
    );
  });

  test("a listener is never called before `send` returns", async () => {
    const bus = await connect();
    const t = unique();
    let hasReturned = false;
    const heardAfter = new Promise((resolve) => bus.listen(t, () => resolve(hasReturned)));
    await settle(bus);
    bus.send(t, bytes("x"));
    hasReturned = true;
    expect(await heardAfter).toBe(true);
  });

  test("nothing comes after a listener was stopped", async () => {
    const [sender, receiver] = [await connect(), await connect()];
    const t = unique();
    const heard: string[] = [];
    const stop = receiver.listen(t, (message) => heard.push(text(message.bytes)));
    await settle(receiver);
    sender.send(t, bytes("before"));
    await comesTrue(() => expect(heard).toEqual(["before"]));
    stop();
    await settle(receiver);
    sender.send(t, bytes("after"));
    await settle(sender);
    await settle(receiver);
    expect(heard).toEqual(["before"]);
  });

  test("a plain message carries no sequence and nothing to answer to", async () => {
    const bus = await connect();
    const t = unique();
    const heard = await hear(bus, t);
    bus.send(t, bytes("x"));
    await comesTrue(() => expect(heard).toHaveLength(1));
    expect(heard[0]?.seq).toBeUndefined();
    expect(heard[0]?.respond).toBeUndefined();
  });

  test("an ask resolves with the first answer, byte for byte", async () => {
    const [asker, answerer] = [await connect(), await connect()];
    const t = unique();
    const all = Uint8Array.from({ length: 256 }, (_, n) => n);
    answerer.listen(t, ({ bytes: question, respond }) => {
      respond?.(question);
      respond?.(bytes("second"));
    });
    await settle(answerer);
    expect(await asker.ask(t, all, 5_000)).toEqual(all);
  });

  test("an ask that nobody listens to fails with no_responders", async () => {
    const bus = await connect();
    expect(await faultOf(bus.ask(unique(), bytes("x"), 5_000))).toBe("no_responders");
  });

  test("an ask that nobody answers fails with timeout", async () => {
    const bus = await connect();
    const t = unique();
    await hear(bus, t);
    expect(await faultOf(bus.ask(t, bytes("x"), 50))).toBe("timeout");
  });

  test("an append is stored and its committed copy carries the same bytes and sequence", async () => {
    const [writer, reader] = [await connect(), await connect()];
    const t = unique();
    const heard = await hear(reader, `alt.bc.kill.team.${t}`);
    const stored = await writer.append(`alt.ctl.kill.team.${t}`, bytes("one"), {
      msgId: t,
      expectSeq: 0,
    });
    expect(stored).toEqual({ seq: expect.any(Number) });
    await comesTrue(() => expect(heard).toHaveLength(1));
    expect(heard[0]).toMatchObject({ subject: `alt.bc.kill.team.${t}`, ...(stored as object) });
    expect(text((heard[0] as BusMessage).bytes)).toBe("one");
    expect(await reader.last(CONTROL_STREAM, `alt.ctl.kill.team.${t}`)).toEqual({
      subject: `alt.ctl.kill.team.${t}`,
      bytes: bytes("one"),
      ...(stored as object),
    });
    const copy = () => reader.last(CONTROL_STREAM, `alt.ctl.kill.team.${t}`, "any");
    await comesTrue(async () => expect(text((await copy())?.bytes ?? bytes(""))).toBe("one"));
    expect(await copy()).toEqual(await reader.last(CONTROL_STREAM, `alt.ctl.kill.team.${t}`));
  });

  test("an append with another sequence than the last is a conflict and leaves nothing", async () => {
    const bus = await connect();
    const t = unique();
    const subject = `alt.ctl.key.${t}`;
    const heard = await hear(bus, `alt.bc.key.${t}`);
    const first = await bus.append(subject, bytes("1"), { msgId: `${t}a`, expectSeq: 0 });
    const { seq } = first as { seq: number };
    expect(await bus.append(subject, bytes("2"), { msgId: `${t}b`, expectSeq: 0 })).toBe(
      "conflict",
    );
    expect(await bus.append(subject, bytes("2"), { msgId: `${t}c`, expectSeq: seq + 1 })).toBe(
      "conflict",
    );
    expect(text((await bus.last(CONTROL_STREAM, subject))?.bytes as Uint8Array)).toBe("1");
    const next = await bus.append(subject, bytes("2"), { msgId: `${t}d`, expectSeq: seq });
    expect((next as { seq: number }).seq).toBeGreaterThan(seq);
    await comesTrue(() => expect(heard.map((m) => text(m.bytes))).toEqual(["1", "2"]));
  });

  test("an id that was stored is not stored again, whatever sequence is expected", async () => {
    const bus = await connect();
    const t = unique();
    const subject = `alt.ctl.key.${t}`;
    const heard = await hear(bus, `alt.bc.key.${t}`);
    const first = await bus.append(subject, bytes("1"), { msgId: t, expectSeq: 0 });
    expect(await bus.append(subject, bytes("1"), { msgId: t, expectSeq: 0 })).toEqual(first);
    const { seq } = first as { seq: number };
    expect(await bus.append(subject, bytes("1"), { msgId: t, expectSeq: seq })).toEqual(first);
    const next = await bus.append(subject, bytes("2"), { msgId: `${t}b`, expectSeq: seq });
    expect(next).not.toBe("conflict");
    await comesTrue(() => expect(heard.map((m) => text(m.bytes))).toEqual(["1", "2"]));
  });

  test("of two appends that expect the same, one is stored", async () => {
    const [left, right] = [await connect(), await connect()];
    const t = unique();
    const subject = `alt.ctl.key.${t}`;
    const append = (bus: Bus, n: number) =>
      bus.append(subject, bytes(`${n}`), { msgId: `${t}-${n}`, expectSeq: 0 });
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, n) => append(n % 2 ? left : right, n)),
    );
    const stored = outcomes.flatMap((outcome, n) =>
      outcome === "conflict" ? [] : [{ seq: outcome.seq, value: `${n}` }],
    );
    expect(stored).toHaveLength(1);
    const last = await left.last(CONTROL_STREAM, subject);
    expect({ seq: last?.seq, value: text(last?.bytes ?? bytes("")) }).toEqual(stored[0]);
  });

  test("a read gives the current messages from a sequence on, in order, at most so many", async () => {
    const bus = await connect();
    const t = unique();
    const put = async (name: string, value: string, expectSeq: number): Promise<number> => {
      const options = { msgId: `${t}-${name}-${value}`, expectSeq };
      const stored = await bus.append(`alt.ctl.key.${t}${name}`, bytes(value), options);
      return (stored as { seq: number }).seq;
    };
    const a1 = await put("a", "old", 0);
    const b = await put("b", "b", 0);
    const c = await put("c", "c", 0);
    const a2 = await put("a", "new", a1);
    const seqs = async (from: number, count: number) =>
      (await bus.read(CONTROL_STREAM, from, count)).map((m) => [m.seq, text(m.bytes)]);
    await comes(async () =>
      expect(await seqs(a1, 10)).toEqual([
        [b, "b"],
        [c, "c"],
        [a2, "new"],
      ]),
    );
    await comes(async () =>
      expect(await seqs(a1, 2)).toEqual([
        [b, "b"],
        [c, "c"],
      ]),
    );
    await comes(async () =>
      expect(await seqs(c, 10)).toEqual([
        [c, "c"],
        [a2, "new"],
      ]),
    );
    expect(await seqs(a2 + 1, 10)).toEqual([]);
    expect((await bus.read(CONTROL_STREAM, 0, 1)).length).toBe(1);
  });

  test("a subject that nothing was stored on has no last message", async () => {
    const bus = await connect();
    expect(await bus.last(CONTROL_STREAM, `alt.ctl.key.${unique()}`)).toBeUndefined();
    expect(await bus.last(CONTROL_STREAM, `alt.ctl.key.${unique()}`, "any")).toBeUndefined();
  });

  test("revocations have a stream of their own", async () => {
    const bus = await connect();
    const t = unique();
    const heard = await hear(bus, `alt.bc.${t}.${t}`);
    const subject = `alt.rev.${t}.${t}`;
    const stored = await bus.append(subject, bytes("gone"), { msgId: t, expectSeq: 0 });
    await comesTrue(() => expect(heard).toHaveLength(1));
    expect(heard[0]).toMatchObject(stored as object);
    await comes(async () => {
      const revocations = await bus.read(REVOCATION_STREAM, 0, 10);
      expect(revocations.map((m) => m.subject)).toContain(subject);
    });
    const controls = await bus.read(CONTROL_STREAM, 0, 1_000);
    expect(controls.map((m) => m.subject)).not.toContain(subject);
  });

  test("the journal keeps a subject's older messages too, under the same comparison", async () => {
    const bus = await connect();
    const t = unique();
    const heard = await hear(bus, "alt.bc.>");
    const subject = `alt.lj.${t}`;
    const seqs: number[] = [];
    for (const value of ["1", "2", "3"]) {
      const expectSeq = seqs.at(-1) ?? 0;
      const stored = await bus.append(subject, bytes(value), { msgId: `${t}-${value}`, expectSeq });
      seqs.push((stored as { seq: number }).seq);
    }
    const stale = { msgId: `${t}-4`, expectSeq: seqs[1] as number };
    expect(await bus.append(subject, bytes("4"), stale)).toBe("conflict");
    await comes(async () => {
      const read = await bus.read(JOURNAL_STREAM, seqs[0] as number, 1_000);
      expect(read.filter((m) => m.subject === subject).map((m) => [m.seq, text(m.bytes)])).toEqual(
        seqs.map((seq, index) => [seq, `${index + 1}`]),
      );
    });
    expect(await bus.last(JOURNAL_STREAM, subject)).toMatchObject({ seq: seqs[2], subject });
    await settle(bus);
    expect(heard.filter(({ subject: heardOn }) => heardOn.includes(t))).toEqual([]);
  });

  test("who leads is one message, the last", async () => {
    const bus = await connect();
    const t = unique();
    const subject = `alt.coord.${t}`;
    const first = await bus.append(subject, bytes("1"), { msgId: `${t}a`, expectSeq: 0 });
    const expectSeq = (first as { seq: number }).seq;
    await bus.append(subject, bytes("2"), { msgId: `${t}b`, expectSeq });
    await comes(async () => {
      const read = await bus.read(LEADER_STREAM, 0, 1_000);
      expect(read.filter((m) => m.subject === subject).map((m) => text(m.bytes))).toEqual(["2"]);
    });
  });

  test("a payload of exactly the limit passes and one byte more is too_large", async () => {
    const bus = await connect();
    const t = unique();
    const full = new Uint8Array(PAYLOAD_BYTES_MAX).fill(7);
    const over = new Uint8Array(PAYLOAD_BYTES_MAX + 1);
    const subject = `alt.ctl.key.${t}`;
    await bus.append(subject, full, { msgId: t, expectSeq: 0 });
    const last = await bus.last(CONTROL_STREAM, subject);
    expect(Buffer.compare(last?.bytes as Uint8Array, full)).toBe(0);
    const append = bus.append(subject, over, { msgId: `${t}o`, expectSeq: 0 });
    expect(await faultOf(append)).toBe("too_large");
    expect(await faultOf(bus.ask(t, over, 1_000))).toBe("too_large");
    expect(() => bus.send(t, over)).toThrow(BusFault);
  });

  test("what would go around an append, or hear what is not stored yet, is a bug and throws", async () => {
    const bus = await connect();
    expect(() => bus.send("alt.ctl.policy", bytes("x"))).toThrow(TypeError);
    expect(() => bus.send("alt.bc.policy", bytes("x"))).toThrow(TypeError);
    await expect(bus.ask("alt.rev.a.a", bytes("x"), 1_000)).rejects.toThrow(TypeError);
    expect(() => bus.listen("alt.ctl.>", () => undefined)).toThrow(TypeError);
    for (const subject of ["", "a..b", "a b", ".a", "a.*", "a.>", "a\r\nPUB x"]) {
      expect(() => bus.send(subject, bytes("x")), subject).toThrow(TypeError);
    }
    for (const pattern of ["", "a..b", "a.>.b", "a b", "a*"]) {
      expect(() => bus.listen(pattern, () => undefined), pattern).toThrow(TypeError);
    }
    const append = bus.append("alt.dig", bytes("x"), { msgId: "a", expectSeq: 0 });
    await expect(append).rejects.toThrow(TypeError);
    const spaced = bus.append("alt.ctl.policy", bytes("x"), { msgId: "a\r\nb", expectSeq: 0 });
    await expect(spaced).rejects.toThrow(TypeError);
    await expect(bus.read("NO_SUCH", 0, 1)).rejects.toThrow(TypeError);
  });

  test("a listener for everything hears no message before it is stored", async () => {
    const bus = await connect();
    const t = unique();
    const heard = await hear(bus, ">");
    await bus.append(`alt.ctl.key.${t}`, bytes("x"), { msgId: t, expectSeq: 0 });
    await comesTrue(() => expect(heard.map((m) => m.subject)).toContain(`alt.bc.key.${t}`));
    expect(heard.map((m) => m.subject)).not.toContain(`alt.ctl.key.${t}`);
  });

  test("a connection that stands is up, and says so to whoever asks later", async () => {
    const bus = await connect();
    expect(bus.isUp()).toBe(true);
    let calls = 0;
    bus.onUp(() => {
      calls += 1;
    });
    await comesTrue(() => expect(calls).toBeGreaterThan(0));
  });

  test("a closed connection is down, hears nothing and fails with closed", async () => {
    const [bus, other] = [await connect(), await connect()];
    const t = unique();
    const heard = await hear(bus, t);
    const unanswered = await hear(other, `${t}.silent`);
    const pending = faultOf(bus.ask(`${t}.silent`, bytes("x"), 60_000));
    await comesTrue(() => expect(unanswered).toHaveLength(1));
    await bus.close();
    await bus.close();
    expect(await pending).toBe("closed");
    expect(bus.isUp()).toBe(false);
    bus.send(t, bytes("x"));
    expect(await faultOf(bus.ask(t, bytes("x"), 1_000))).toBe("closed");
    const append = bus.append("alt.ctl.key.x", bytes("x"), { msgId: t, expectSeq: 0 });
    expect(await faultOf(append)).toBe("closed");
    expect(await faultOf(bus.read(CONTROL_STREAM, 0, 1))).toBe("closed");
    expect(await faultOf(bus.last(CONTROL_STREAM, "alt.ctl.policy"))).toBe("closed");
    other.send(t, bytes("x"));
    await settle(other);
    expect(heard).toEqual([]);
  });
});
