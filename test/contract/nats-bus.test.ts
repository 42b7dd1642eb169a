import { writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { connect as connectRaw, headers as natsHeaders, nkeys } from "@nats-io/transport-node";
import { expect, test, vi } from "vitest";
import { connectNatsBus, type NatsBus, openNatsBus } from "../../adapters/nats-bus.ts";
import type { NatsBusOptions } from "../../adapters/nats-connection.ts";
import { ensureStreams, StreamConfigFault } from "../../adapters/nats-streams.ts";
import { createRoot, issueCertificate } from "../../adapters/x509-authority.ts";
import { BusFault, type BusMessage } from "../../ports/bus.ts";
import { CONTROL_STREAM } from "../../proto/subjects.ts";
import { comesTrue } from "../support/comes-true.ts";
import { startNats } from "../support/start-nats.ts";
import { stopProcess } from "../support/stop-process.ts";
import { tempDir } from "../support/temp-dir.ts";

const SUBJECT = "alt.ctl.kill.global";
const COPY = "alt.bc.kill.global";
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

const SUBJECT_OF = {
  server: { name: "nats", names: [{ type: "ip", value: "127.0.0.1" }], use: "server" },
  client: { name: "n1", names: [{ type: "dns", value: "n1" }], use: "client" },
} as const;

/** A server that is back is found at once. */
const QUICK = { reconnectWaitMs: 50 };
/**
 * For tests of what comes after a limit: nobody else has one that a server on a busy machine may miss, and a
 * connection that is taken for lost counts as one more.
 */
const IMPATIENT = { ...QUICK, pingIntervalMs: 200, streamTimeoutMs: 500 };

async function open(url: string, options: Partial<NatsBusOptions> = {}) {
  const bus = await connectNatsBus({ url, name: "test", ...QUICK, ...options });
  let ups = 0;
  bus.onUp(() => {
    ups += 1;
  });
  return {
    bus,
    get ups() {
      return ups;
    },
    [Symbol.asyncDispose]: () => bus.close(),
  };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(BusFault);
  return (error as BusFault).code;
}

function seqOf(outcome: { readonly seq: number } | "conflict"): number {
  if (outcome === "conflict") throw new Error("conflict");
  return outcome.seq;
}

test("a bus takes listeners before it is connected, and says when it is", async () => {
  await using server = await startNats();
  await using other = await open(server.url);
  const bus = openNatsBus({ url: server.url, name: "test", ...QUICK });
  const heard: string[] = [];
  bus.listen("alt.dig", ({ subject }) => heard.push(subject));
  bus.onUp(() => heard.push("up"));
  expect(bus.isUp()).toBe(false);
  await bus.firstAttempt;
  // An answer from the server's own side of the connection: what was asked for before it is in force.
  await codeOf(bus.ask("alt.req.n1.nonce", bytes("x"), 500));
  other.bus.send("alt.dig", bytes("digest"));
  await comesTrue(() => expect(heard).toEqual(["up", "alt.dig"]));
  await bus.close();
});

test("a kill is written in the turn in which it is said", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  const write = vi.spyOn(Socket.prototype, "write");
  side.bus.send("alt.fast.kill.global", bytes("stop"));
  const written = write.mock.calls.map(([chunk]) => Buffer.from(chunk as Uint8Array).toString());
  write.mockRestore();
  expect(written.join(""), "and nothing else").toBe("PUB alt.fast.kill.global 4\r\nstop\r\n");
});

test("a bus whose server is down is there at once, not up, and comes up by itself", async () => {
  await using server = await startNats({ started: false });
  await using side = await open(server.url);
  const { bus } = side;
  expect(bus.isUp()).toBe(false);
  bus.send("a.b", bytes("lost"));
  expect(await codeOf(bus.ask("a.b", bytes("x"), 1_000))).toBe("closed");
  const append = bus.append(SUBJECT, bytes("x"), { msgId: "1", expectSeq: 0 });
  expect(await codeOf(append)).toBe("closed");
  const heard: BusMessage[] = [];
  bus.listen("a.b", (message) => heard.push(message));
  await server.restart();
  await comesTrue(() => expect(side.ups).toBe(1));
  expect(bus.isUp()).toBe(true);
  bus.send("a.b", bytes("heard"));
  await comesTrue(() =>
    expect(heard.map((m) => Buffer.from(m.bytes).toString())).toEqual(["heard"]),
  );
});

test("with an authority's file there is no way but TLS to a server that it has signed", async () => {
  using folder = tempDir();
  const at = (name: string) => join(folder.path, name);
  const nowMs = Date.now();
  const life = { nowMs, notAfterMs: nowMs + 3_600_000 };
  const root = await createRoot({ name: "root", nowMs, validMs: 3_600_000 });
  const server = await issueCertificate({ root, subject: SUBJECT_OF.server, ...life });
  const client = await issueCertificate({ root, subject: SUBJECT_OF.client, ...life });
  const other = await createRoot({ name: "other", nowMs, validMs: 3_600_000 });
  const files = { ca: root.certificate, other: other.certificate };
  for (const [name, pem] of Object.entries(files)) writeFileSync(at(name), pem);
  for (const [name, { certificate, privateKey }] of Object.entries({ server, client })) {
    writeFileSync(at(`${name}.pem`), certificate);
    writeFileSync(at(`${name}.key`), privateKey);
  }
  await using nats = await startNats({
    config: `tls { cert_file: "${at("server.pem")}", key_file: "${at("server.key")}", ca_file: "${at("ca")}", verify: true }`,
  });
  const certificate = { certFile: at("client.pem"), keyFile: at("client.key") };
  const tls = { caFile: at("ca"), ...certificate };
  for (const url of [nats.url, nats.url.replace("nats:", "tls:")]) {
    await using side = await open(url, { tls });
    expect(side.bus.isUp()).toBe(true);
  }
  // An authority that did not sign the server, no certificate where one is asked for, another host's.
  const misnamed = nats.url.replace("127.0.0.1", "localhost");
  for (const [url, wrong] of [
    [nats.url, { ...tls, caFile: at("other") }],
    [nats.url, { caFile: at("ca") }],
    [misnamed, tls],
  ] as const) {
    const troubles: string[] = [];
    const onTrouble = (message: string) => troubles.push(message);
    await using side = await open(url, { tls: wrong, onTrouble, connectTimeoutMs: 500 });
    expect(side.bus.isUp()).toBe(false);
    expect(troubles).not.toEqual([]);
  }
  // As somebody in between would answer: without TLS, so that all could be read.
  nats.configure("");
  await nats.restart();
  await using plain = await open(nats.url);
  expect(plain.bus.isUp()).toBe(true);
  await using refusing = await open(nats.url, { tls });
  expect(refusing.bus.isUp()).toBe(false);
});

test("a bus that is closed while its server is down ends", async () => {
  await using server = await startNats({ started: false });
  const { bus } = await open(server.url);
  await bus.close();
  expect(bus.isUp()).toBe(false);
});

test("after kill -9 and restart of the server it is up again with its listeners, and what was stored is there", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  const { bus } = side;
  await ensureStreams(bus, { replicas: 1 });
  const heard: (number | undefined)[] = [];
  bus.listen(COPY, (message) => heard.push(message.seq));
  const first = seqOf(await bus.append(SUBJECT, bytes("1"), { msgId: "1", expectSeq: 0 }));
  await comesTrue(() => expect(heard).toEqual([first]));
  await comesTrue(() => expect(side.ups).toBe(1));
  await server.kill();
  await comesTrue(() => expect(bus.isUp()).toBe(false));
  expect(await codeOf(bus.read(CONTROL_STREAM, 0, 1))).toBe("closed");
  await server.restart();
  await comesTrue(() => expect(side.ups).toBe(2));
  expect(bus.isUp()).toBe(true);
  await comesTrue(async () => expect((await bus.last(CONTROL_STREAM, SUBJECT))?.seq).toBe(first));
  const again = bus.append(SUBJECT, bytes("1"), { msgId: "1", expectSeq: 0 });
  expect(seqOf(await again)).toBe(first);
  const next = await bus.append(SUBJECT, bytes("2"), { msgId: "2", expectSeq: first });
  await comesTrue(() => expect(heard).toEqual([first, seqOf(next)]));
});

test("an append without an answer is unknown, and the same id asked again is stored once", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  await using hasty = await open(server.url, { ...IMPATIENT, pingIntervalMs: 60_000 });
  const { bus } = side;
  await ensureStreams(bus, { replicas: 1 });
  await stopProcess(server.pid as number);
  const options = { msgId: "once", expectSeq: 0 };
  const code = await codeOf(hasty.bus.append(SUBJECT, bytes("x"), options));
  process.kill(server.pid as number, "SIGCONT");
  expect(code).toBe("unknown");
  const seq = await comesTrue(async () => seqOf(await bus.append(SUBJECT, bytes("x"), options)));
  const stored = await bus.read(CONTROL_STREAM, 0, 10);
  expect(stored.map((m) => m.seq)).toEqual([seq]);
  const later = await bus.append(SUBJECT, bytes("y"), { msgId: "twice", expectSeq: seq });
  expect(seqOf(later)).toBe(seq + 1);
});

test("a server that goes silent without closing is noticed by its pings", async () => {
  await using server = await startNats();
  await using side = await open(server.url, IMPATIENT);
  await comesTrue(() => expect(side.ups).toBe(1));
  await stopProcess(server.pid as number);
  await comesTrue(() => expect(side.bus.isUp()).toBe(false));
  process.kill(server.pid as number, "SIGCONT");
  await comesTrue(() => expect(side.ups).toBe(2));
  expect(side.bus.isUp()).toBe(true);
});

test("a question that is under way when the connection is lost ends with it, and can be asked again", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  await using other = await open(server.url);
  let isSilent = false;
  let unanswered = 0;
  other.bus.listen("a.b", ({ respond }) => {
    if (isSilent) unanswered += 1;
    else respond?.(bytes("here"));
  });
  const isAnswered = () =>
    comesTrue(async () => {
      const answer = await side.bus.ask("a.b", bytes("?"), 1_000);
      expect(Buffer.from(answer).toString()).toBe("here");
    });
  // The server knows of the listener by then.
  await isAnswered();
  isSilent = true;
  const first = codeOf(side.bus.ask("a.b", bytes("?"), 10 * 60_000));
  await comesTrue(() => expect(unanswered).toBe(1));
  await server.kill();
  expect(await first).toBe("closed");
  isSilent = false;
  await server.restart();
  await comesTrue(() => expect([side.bus.isUp(), other.bus.isUp()]).toEqual([true, true]));
  await isAnswered();
});

test("what is sent while no connection stands is lost, not kept for later", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  await using other = await open(server.url);
  const heard: string[] = [];
  other.bus.listen("a.b", (message) => heard.push(Buffer.from(message.bytes).toString()));
  await server.kill();
  await comesTrue(() => expect(side.bus.isUp()).toBe(false));
  side.bus.send("a.b", bytes("stale"));
  await server.restart();
  await comesTrue(() => expect([side.bus.isUp(), other.bus.isUp()]).toEqual([true, true]));
  await comesTrue(() => {
    side.bus.send("a.b", bytes("fresh"));
    expect(heard.length).toBeGreaterThan(0);
  });
  expect(heard).not.toContain("stale");
});

test("without the streams nothing is appended or read", async () => {
  await using server = await startNats();
  await using side = await open(server.url, IMPATIENT);
  const append = side.bus.append(SUBJECT, bytes("x"), { msgId: "1", expectSeq: 0 });
  expect(await codeOf(append)).toBe("no_responders");
  // Servers before 2.10 answer nothing at all here.
  expect(["no_responders", "timeout"]).toContain(await codeOf(side.bus.read(CONTROL_STREAM, 0, 1)));
  expect(await codeOf(side.bus.last(CONTROL_STREAM, SUBJECT))).toBe("no_responders");
});

test("streams are made once, and a stream that is set up otherwise is not used", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  await ensureStreams(side.bus, { replicas: 1 });
  await ensureStreams(side.bus, { replicas: 1 });
  const { config } = await side.bus.manager().streams.info(CONTROL_STREAM);
  expect(config).toMatchObject({
    retention: "limits",
    discard: "new",
    max_msgs_per_subject: 1,
    max_age: 0,
    allow_direct: true,
    deny_delete: true,
    deny_purge: true,
    duplicate_window: 600_000_000_000,
    republish: { src: "alt.ctl.>", dest: "alt.bc.>" },
  });
  await side.bus
    .manager()
    .streams.update(CONTROL_STREAM, { max_age: 60_000_000_000, duplicate_window: 60_000_000_000 });
  await expect(ensureStreams(side.bus, { replicas: 1 })).rejects.toThrow(StreamConfigFault);
});

test("nobody can take a stored message away", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  await ensureStreams(side.bus, { replicas: 1 });
  const seq = seqOf(await side.bus.append(SUBJECT, bytes("x"), { msgId: "1", expectSeq: 0 }));
  const { streams } = side.bus.manager();
  await expect(streams.purge(CONTROL_STREAM)).rejects.toThrow();
  await expect(streams.deleteMessage(CONTROL_STREAM, seq)).rejects.toThrow();
  expect((await side.bus.last(CONTROL_STREAM, SUBJECT))?.seq).toBe(seq);
});

test("a message on a committed subject that the server did not store carries no sequence", async () => {
  await using server = await startNats();
  await using side = await open(server.url);
  const heard: BusMessage[] = [];
  side.bus.listen("alt.bc.>", (message) => heard.push(message));
  side.bus.listen("alt.fast.kill.>", (message) => heard.push(message));
  const raw = await connectRaw({ servers: server.url });
  const sequence = natsHeaders();
  sequence.set("Nats-Sequence", "7");
  await comesTrue(() => {
    raw.publish(COPY, bytes("plain"));
    raw.publish("alt.fast.kill.global", bytes("fast"), { headers: sequence });
    expect(heard.length).toBeGreaterThanOrEqual(2);
  });
  await raw.close();
  expect(heard.filter((message) => message.seq !== undefined)).toEqual([]);
});

test("a listener that a permission refused hears again once it is granted", async () => {
  const users = (allowed: string) => `authorization { users: [
    { user: n, password: p, permissions: { publish: ">", subscribe: [${allowed}] } } ] }`;
  await using server = await startNats({ config: users('"_INBOX.>"') });
  const url = server.url.replace("nats://", "nats://n:p@");
  const troubles: string[] = [];
  await using side = await open(url, { onTrouble: (message) => troubles.push(message) });
  const heard: BusMessage[] = [];
  side.bus.listen("a.b", (message) => heard.push(message));
  await comesTrue(() => expect(troubles.join()).toMatch(/permissions violation/i));
  server.configure(users('"_INBOX.>", "a.b"'));
  await server.restart();
  await comesTrue(() => {
    side.bus.send("a.b", bytes("x"));
    expect(heard.length).toBeGreaterThan(0);
  });
});

test("a bus whose credentials are refused is not up, says why, and comes up when they are accepted", async () => {
  const users = (password: string) =>
    `authorization { users: [ { user: n, password: "${password}" } ] }`;
  await using server = await startNats({ config: users("other") });
  const url = server.url.replace("nats://", "nats://n:p@");
  const troubles: string[] = [];
  await using side = await open(url, { onTrouble: (message) => troubles.push(message) });
  await comesTrue(() => expect(troubles.length).toBeGreaterThan(2));
  expect(side.bus.isUp()).toBe(false);
  expect(troubles.join()).toMatch(/authorization/i);
  server.configure(users("p"));
  await server.restart();
  await comesTrue(() => expect(side.bus.isUp()).toBe(true));
});

test("several servers may be named, and one that answers is enough", async () => {
  await using dead = await startNats({ started: false });
  await using server = await startNats();
  await using side = await open(`${dead.url}, ${server.url}`);
  await comesTrue(() => expect(side.bus.isUp()).toBe(true));
  const bus: NatsBus = side.bus;
  bus.listen("echo", ({ bytes: question, respond }) => respond?.(question));
  await comesTrue(async () => expect(await bus.ask("echo", bytes("x"), 1_000)).toEqual(bytes("x")));
});

test("a node's own user hears and reads what is committed, and can append nothing", async () => {
  const user = nkeys.createUser();
  const config = `authorization { users: [
    { user: coordinator, password: p },
    { nkey: ${user.getPublicKey()}, permissions: {
      publish: [ "alt.ack.n1", "$JS.API.DIRECT.GET.ALT_CTL", "$JS.API.DIRECT.GET.ALT_CTL.>" ],
      subscribe: [ "alt.bc.>", "alt.fast.kill.>", "alt.dig", "_INBOX.n1.>" ] } } ] }`;
  await using server = await startNats({ config });
  await using coordinator = await open(server.url.replace("//", "//coordinator:p@"));
  await ensureStreams(coordinator.bus, { replicas: 1 });
  const login = { nkeySeed: user.getSeed(), inboxPrefix: "_INBOX.n1" };
  await using node = await open(server.url, login);
  const heard: (number | undefined)[] = [];
  node.bus.listen("alt.bc.>", (message) => heard.push(message.seq));
  const acks: string[] = [];
  coordinator.bus.listen("alt.ack.*", (message) => acks.push(message.subject));
  await comesTrue(() => {
    node.bus.send("alt.ack.n1", bytes("x"));
    expect(acks).toContain("alt.ack.n1");
  });
  const append = coordinator.bus.append(SUBJECT, bytes("x"), { msgId: "1", expectSeq: 0 });
  const seq = seqOf(await append);
  await comesTrue(() => expect(heard).toEqual([seq]));
  const read = await node.bus.read(CONTROL_STREAM, 0, 10);
  expect(read.map((message) => message.seq)).toEqual([seq]);
  node.bus.send("alt.ack.n2", bytes("x"));
  const forged = node.bus.append(SUBJECT, bytes("y"), { msgId: "2", expectSeq: seq });
  expect(["unknown", "closed"]).toContain(await codeOf(forged));
  expect((await coordinator.bus.last(CONTROL_STREAM, SUBJECT))?.seq).toBe(seq);
  expect(acks).not.toContain("alt.ack.n2");
});
