import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { MessageChannel, Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { DUPLICATE_IDS_MAX, DUPLICATE_WINDOW_MS } from "../../adapters/bus-log.ts";
import { busOverPort, UNACKED_BYTES_MAX } from "../../adapters/bus-over-port.ts";
import { createBusHub } from "../../adapters/in-process-bus.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { BusFault, type BusMessage } from "../../ports/bus.ts";
import { twinClock } from "../../ports/twin-clock.ts";
import { type CommitFate, twinStore } from "../../ports/twin-store.ts";
import { CONTROL_STREAM } from "../../proto/subjects.ts";
import { comesTrue } from "../support/comes-true.ts";
import { tempDir } from "../support/temp-dir.ts";

const SUBJECT = "alt.ctl.policy";
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const text = (data: Uint8Array | undefined): string => Buffer.from(data ?? "").toString();

function seqOf(outcome: { readonly seq: number } | "conflict"): number {
  if (outcome === "conflict") throw new Error("conflict");
  return outcome.seq;
}

describe("a hub with a store", () => {
  test("finds its messages, sequences and ids again after a restart", async () => {
    using dir = tempDir();
    const before = openLmdbStore(dir.path);
    const hub = createBusHub(before);
    const bus = hub.connect();
    const first = seqOf(await bus.append(SUBJECT, bytes("1"), { msgId: "a", expectSeq: 0 }));
    const other = { msgId: "other", expectSeq: 0 };
    await bus.append("alt.ctl.trust", bytes("t"), other);
    const second = seqOf(await bus.append(SUBJECT, bytes("2"), { msgId: "b", expectSeq: first }));
    await hub.close();
    await before.close();

    const store = openLmdbStore(dir.path);
    const again = createBusHub(store).connect();
    const read = await again.read(CONTROL_STREAM, 0, 10);
    expect(read.map((m) => [m.subject, text(m.bytes)])).toEqual([
      ["alt.ctl.trust", "t"],
      [SUBJECT, "2"],
    ]);
    expect((await again.last(CONTROL_STREAM, SUBJECT))?.seq).toBe(second);
    const repeated = again.append(SUBJECT, bytes("2"), { msgId: "b", expectSeq: first });
    expect(seqOf(await repeated)).toBe(second);
    const stale = again.append(SUBJECT, bytes("3"), { msgId: "c", expectSeq: first });
    expect(await stale).toBe("conflict");
    const third = await again.append(SUBJECT, bytes("3"), { msgId: "d", expectSeq: second });
    expect(seqOf(third)).toBe(second + 1);
    await store.close();
  });

  test("says nothing of an append before it is on disk", async () => {
    const clock = twinClock();
    const store = twinStore({ delay: { clock, commitMs: () => 5 } });
    const bus = createBusHub(store, clock).connect();
    const heard: BusMessage[] = [];
    bus.listen("alt.bc.>", (message) => heard.push(message));
    let answered = false;
    const append = bus.append(SUBJECT, bytes("1"), { msgId: "a", expectSeq: 0 }).then((outcome) => {
      answered = true;
      return outcome;
    });
    await turn();
    expect([answered, heard.length, await bus.last(CONTROL_STREAM, SUBJECT)]).toEqual([
      false,
      0,
      undefined,
    ]);
    clock.advance(5);
    expect(seqOf(await append)).toBe(1);
    await turn();
    expect(heard.map((m) => m.seq)).toEqual([1]);
    expect(store.durable.size).toBeGreaterThan(0);
  });

  test.each(["fails_not_persisted", "fails_but_persisted"] as const)(
    "after a commit that %s the outcome is unknown, and the same id settles it",
    async (fate) => {
      let fates: CommitFate[] = [fate];
      const bus = createBusHub(twinStore({ commitFate: () => fates.shift() ?? "good" })).connect();
      const options = { msgId: "a", expectSeq: 0 };
      const failed = await bus
        .append(SUBJECT, bytes("1"), options)
        .catch((error: unknown) => error);
      expect(failed).toBeInstanceOf(BusFault);
      expect((failed as BusFault).code).toBe("unknown");
      const isStored = (await bus.last(CONTROL_STREAM, SUBJECT)) !== undefined;
      expect(isStored).toBe(fate === "fails_but_persisted");
      const seq = seqOf(await bus.append(SUBJECT, bytes("1"), options));
      expect((await bus.read(CONTROL_STREAM, 0, 10)).map((m) => m.seq)).toEqual([seq]);
      fates = [];
      const next = await bus.append(SUBJECT, bytes("2"), { msgId: "b", expectSeq: seq });
      expect(seqOf(next)).toBe(seq + 1);
    },
  );

  test("forgets an id after its window, and not before", async () => {
    const clock = twinClock();
    const bus = createBusHub(undefined, clock).connect();
    const first = await bus.append(SUBJECT, bytes("1"), { msgId: "a", expectSeq: 0 });
    clock.advance(DUPLICATE_WINDOW_MS);
    expect(await bus.append(SUBJECT, bytes("1"), { msgId: "a", expectSeq: 0 })).toEqual(first);
    clock.advance(1);
    expect(await bus.append(SUBJECT, bytes("1"), { msgId: "a", expectSeq: 0 })).toBe("conflict");
  });

  test("keeps reading right while one subject is written over and over", async () => {
    const bus = createBusHub(undefined).connect();
    await bus.append("alt.ctl.trust", bytes("t"), { msgId: "t", expectSeq: 0 });
    let seq = 0;
    for (let n = 0; n < 500; n += 1) {
      seq = seqOf(await bus.append(SUBJECT, bytes(`${n}`), { msgId: `m${n}`, expectSeq: seq }));
    }
    const read = await bus.read(CONTROL_STREAM, 0, 10);
    expect(read.map((m) => text(m.bytes))).toEqual(["t", "499"]);
    expect(await bus.read(CONTROL_STREAM, seq + 1, 10)).toEqual([]);
    expect(DUPLICATE_IDS_MAX).toBeGreaterThan(500);
  });
});

describe("two parties that answer each other without end", () => {
  test("leave the thread its other work", async () => {
    const bus = createBusHub(undefined).connect();
    let volleys = 0;
    bus.listen("ping", () => bus.send("pong", bytes("")));
    bus.listen("pong", () => {
      volleys += 1;
      bus.send("ping", bytes(""));
    });
    bus.send("ping", bytes(""));
    await turn();
    await turn();
    expect(volleys).toBeGreaterThan(0);
    await bus.close();
  });
});

describe("a bus over a MessagePort", () => {
  test("works from another thread", async () => {
    const hub = createBusHub(undefined);
    const bus = hub.connect();
    const adapter = new URL("../../adapters/bus-over-port.ts", import.meta.url).href;
    const program = `import { workerData } from "node:worker_threads";
      const { busOverPort } = await import(${JSON.stringify(adapter)});
      const bus = busOverPort(workerData);
      bus.listen("alt.bc.>", (m) => bus.send("seen." + m.seq, m.bytes));
      bus.listen("echo", (m) => m.respond(m.bytes));
      bus.send("ready", new Uint8Array(0));`;
    const seen: string[] = [];
    bus.listen("seen.*", (message) => seen.push(`${message.subject} ${text(message.bytes)}`));
    const isReady = new Promise((resolve) => bus.listen("ready", resolve));
    const { port1, port2 } = new MessageChannel();
    hub.attach(port1);
    const url = new URL(`data:text/javascript,${encodeURIComponent(program)}`);
    const worker = new Worker(url, { workerData: port2, transferList: [port2] });
    await isReady;
    expect(text(await bus.ask("echo", bytes("over there"), 5_000))).toBe("over there");
    const seq = seqOf(await bus.append(SUBJECT, bytes("policy"), { msgId: "a", expectSeq: 0 }));
    await comesTrue(() => expect(seen).toEqual([`seen.${seq} policy`]));
    await worker.terminate();
    const gone = () => bus.ask("echo", bytes("x"), 200).catch((e: BusFault) => e.code);
    await comesTrue(async () => expect(await gone()).toBe("no_responders"));
    await hub.close();
  });

  test("is down once the hub has closed it, and what it waited for fails", async () => {
    const hub = createBusHub(undefined);
    const { port1, port2 } = new MessageChannel();
    hub.attach(port1);
    const bus = busOverPort(port2);
    const stop = bus.listen("silent", () => undefined);
    const pending = bus.ask("silent", bytes("x"), 60_000).catch((e: BusFault) => e.code);
    await turn();
    port1.close();
    await once(port2, "close");
    expect(await pending).toBe("closed");
    expect(bus.isUp()).toBe(false);
    stop();
    await hub.close();
  });

  test("to a thread that does not read loses messages beyond its limit, and says so afterwards", async () => {
    const hub = createBusHub(undefined);
    const sender = hub.connect();
    const { port1, port2 } = new MessageChannel();
    hub.attach(port1);
    const bus = busOverPort(port2);
    let received = 0;
    let ups = 0;
    bus.listen("flood", () => {
      received += 1;
    });
    bus.onUp(() => {
      ups += 1;
    });
    await comesTrue(() => expect(ups).toBeGreaterThan(0));
    const upsBefore = ups;
    const message = new Uint8Array(900_000);
    const sent = Math.ceil((UNACKED_BYTES_MAX * 2) / message.length);
    // All of it is handed over before this thread, which is also the reader, gets to read.
    for (let n = 0; n < sent; n += 1) sender.send("flood", message);
    await comesTrue(() => expect(ups).toBeGreaterThan(upsBefore));
    expect(received).toBeLessThan(sent);
    const receivedBefore = received;
    sender.send("flood", message);
    await comesTrue(() => expect(received).toBe(receivedBefore + 1));
    await bus.close();
    await hub.close();
  });
});
