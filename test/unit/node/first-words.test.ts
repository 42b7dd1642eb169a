import fc from "fast-check";
import { expect, test } from "vitest";
import { HELLO_RECORDS_MAX } from "../../../node/dataplane/tls/client-hello.ts";
import { proofCount } from "../../support/proof.ts";
import { eventually } from "./dataplane/door.ts";
import { bytesOf, cutAt, shares } from "./dataplane/http-text.ts";
import { helloMessage, records } from "./dataplane/tls/hello-bytes.ts";
import { turns } from "./door-lives.ts";
import { CAPTURED_HOST, type DoorsWorld, dial, doorsWorld, PLAIN_HOST } from "./doors-world.ts";
import { connectHead, proxyAuthorization } from "./tunnel-world.ts";

const { count: RUNS, seed } = proofCount("first words of tunnels", { small: 300, full: 20_000 });

/** What is asked for, from a host and a port; and whether that is the granted host, in one reading. */
const TARGETS: readonly (readonly [target: (host: string, port: number) => string, ok: boolean])[] =
  [
    [(host, port) => `${host}:${port}`, true],
    [(host, port) => `${host.toUpperCase()}:${port}`, true],
    [(host, port) => `${host}.:${port}`, false],
    [(host, port) => `.${host}:${port}`, false],
    [(host, port) => `x@${host}:${port}`, false],
    [(host, port) => `${host}:x@${host}:${port}`, false],
    [(host, port) => `${host.replace(".", "%2e")}:${port}`, false],
    [(host, port) => `${host.replace("a", "\xe4")}:${port}`, false],
    [(host, port) => `xn--${host}:${port}`, false],
    [(host, port) => `${host}%00.evil.example.com:${port}`, false],
    [(host, port) => `evil.example.com/${host}:${port}`, false],
    [(host, port) => `${host}:0${port}`, false],
    [(host, port) => `${host}:${port + 65_536}`, false],
    [(host, port) => `${host}:${port}/`, false],
    [(host, port) => `http://${host}:${port}`, false],
    [(host) => host, false],
    [(host) => `${host}:`, false],
    [(_host, port) => `127.0.0.1:${port}`, false],
    [(_host, port) => `[::ffff:127.0.0.1]:${port}`, false],
    [(_host, port) => `[::1]:${port}`, false],
    [(_host, port) => `2130706433:${port}`, false],
    [(_host, port) => `0x7f.1:${port}`, false],
  ];

const ECH = 0xfe0d;
const ESNI = 0xffce;
const SERVER_NAME = 0;

/** First messages, from the host that they should name; and whether they name it and no other, in one reading. */
const HELLOS: readonly (readonly [message: (host: string) => Buffer, ok: boolean])[] = [
  [(host) => helloMessage({ serverNames: [host] }), true],
  [(host) => helloMessage({ serverNames: [host.toUpperCase()], protocols: ["h2"] }), true],
  [(host) => helloMessage({ serverNames: [host], more: [[21, Buffer.alloc(2_000)]] }), true],
  [() => helloMessage({ serverNames: ["other.example.com"] }), false],
  [() => helloMessage({}), false],
  [() => helloMessage({ serverNames: [] }), false],
  [() => helloMessage({ serverNames: ["127.0.0.1"] }), false],
  [(host) => helloMessage({ serverNames: [`${host}.`] }), false],
  [(host) => helloMessage({ serverNames: [`${host}\0.example.com`] }), false],
  [(host) => helloMessage({ serverNames: [host, host] }), false],
  [(host) => helloMessage({ serverNames: [host, "other.example.com"] }), false],
  [(host) => helloMessage({ serverNames: ["other.example.com"], more: [again(host)] }), false],
  [(host) => helloMessage({ serverNames: [host], more: [again("other.example.com")] }), false],
  [(host) => helloMessage({ serverNames: [host], more: [[ECH, Buffer.of(0)]] }), false],
  [(host) => helloMessage({ serverNames: [host], more: [[ESNI, Buffer.of(0)]] }), false],
  [
    (host) => Buffer.concat([Buffer.of(2), helloMessage({ serverNames: [host] }).subarray(1)]),
    false,
  ],
];

/** A second extension of the kind that names a server. */
function again(host: string): [number, Buffer] {
  const length = host.length;
  const before = [0, length + 3, SERVER_NAME, 0, length];
  return [SERVER_NAME, Buffer.from([...before, ...Buffer.from(host)])];
}

const NO_TLS = [
  "GET / HTTP/1.1\r\nhost: a",
  "SSH-2.0-x\r\n",
  "\x15\x03\x01\0\x02\x02\x28",
  "\x80\x2e",
];

const one = <T>(list: readonly T[], isAny: boolean): fc.Arbitrary<T> =>
  isAny ? fc.constantFrom(...list) : fc.constant(list[0] as T);

/** One of its parts may be odd: of two, the one would hide what is made of the other. */
const spoken = fc.constantFrom("target", "hello", "hello", "bytes").chain((odd) =>
  fc.record({
    isCaptured: fc.boolean(),
    target: one(TARGETS, odd === "target"),
    hello: one(HELLOS, odd === "hello"),
    /** What comes in place of TLS. */
    noTls: odd === "bytes" ? fc.option(fc.constantFrom(...NO_TLS)) : fc.constant(null),
    /** Bytes of a record at most. */
    recordBytes: fc.integer({ min: odd === "bytes" ? 1 : 100, max: 600 }),
    /** What is sent behind it before there is an answer. */
    tail: fc.constantFrom("", "\x17\x03\x03\0\x05early"),
    /** All of it at once, and not what comes behind the head once that was answered. */
    isEarly: fc.boolean(),
    at: shares,
  }),
);

type Spoken = typeof spoken extends fc.Arbitrary<infer Value> ? Value : never;

/** What the far side got of it, on how many connections. */
async function carriedOf(it: DoorsWorld, of: Spoken) {
  const { isCaptured, isEarly, at } = of;
  const far = isCaptured ? it.captured : it.far;
  const before = far.connections;
  far.rests.clear();
  const target = of.target[0](PLAIN_HOST, it.far.port);
  const first = firstWords(of);
  const client = dial(isCaptured ? it.capture.port : it.doors.forwardPort);
  let told = "";
  client.on("error", () => undefined).on("data", (chunk) => (told += chunk.toString("latin1")));
  const head = isCaptured ? Buffer.alloc(0) : bytesOf(connectHead(target, proxyAuthorization()));
  for (const part of isEarly ? [Buffer.concat([head, first])] : [head, first]) {
    for (const piece of part.length === 0 ? [] : cutAt(part, at)) {
      if (!client.destroyed) client.write(piece);
      await turns(1);
    }
    await turns(12);
  }
  await turns(12);
  client.destroy();
  await eventually(() => it.connections.count() === 0, "it is over");
  return { got: [...far.rests.values()].join("|"), connections: far.connections - before, told };
}

function firstWords({ isCaptured, hello, recordBytes, noTls, tail }: Spoken): Buffer {
  if (noTls !== null) return Buffer.from(noTls + tail, "latin1");
  const message = hello[0](isCaptured ? CAPTURED_HOST : PLAIN_HOST);
  return Buffer.concat([records(message, recordBytes), Buffer.from(tail, "latin1")]);
}

/** Whether it is one that has one reading, for a host that is granted. */
function isGood(of: Spoken): boolean {
  const { isCaptured, target, hello, recordBytes, noTls } = of;
  const count = Math.ceil(hello[0](PLAIN_HOST).length / recordBytes);
  return (isCaptured || target[1]) && hello[1] && noTls === null && count <= HELLO_RECORDS_MAX;
}

function endsInAlert(text: string): boolean {
  return text.slice(-7).startsWith("\x15\x03\x03\0\x02\x02");
}

test("a far side hears all of what names it in one reading, and is not connected to for anything else", async () => {
  const it = await doorsWorld();
  await fc.assert(
    fc.asyncProperty(spoken, async (of) => {
      const { got, connections, told } = await carriedOf(it, of);
      const whole = firstWords(of).toString("latin1");
      expect({ got, connections }).toEqual(
        isGood(of) ? { got: whole, connections: 1 } : { got: "", connections: 0 },
      );
      // Whoever is refused is told why: over HTTP, or by a fatal alert.
      const isTold = /^HTTP\/1.1 4.*\r\nx-altrace-reason: /s.test(told) || endsInAlert(told);
      expect(isTold).toBe(!isGood(of));
    }),
    { numRuns: RUNS, seed: seed | 0 },
  );
  expect(it.faults).toEqual([]);
});
