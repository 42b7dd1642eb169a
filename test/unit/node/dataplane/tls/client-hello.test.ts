import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ClientHelloReader,
  HELLO_BYTES_MAX,
  HELLO_RECORDS_MAX,
  type HelloReading,
} from "../../../../../node/dataplane/tls/client-hello.ts";
import { proofCount } from "../../../../support/proof.ts";
import { clientHello, helloMessage, realHello, records } from "./hello-bytes.ts";

const read = (bytes: Uint8Array): HelloReading => new ClientHelloReader().push(bytes);

function readInPieces(bytes: Uint8Array, cuts: readonly number[]): HelloReading {
  const reader = new ClientHelloReader();
  let reading: HelloReading = "more";
  let from = 0;
  for (const cut of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
    reading = reader.push(bytes.subarray(from, Math.max(from, cut)));
    from = Math.max(from, cut);
    if (reading !== "more") return reading;
  }
  return reading;
}

describe("a ClientHello", () => {
  test("of Node's own TLS is read", async () => {
    const bytes = await realHello({
      servername: "API.Example.com",
      ALPNProtocols: ["h2", "http/1.1"],
    });
    expect(read(bytes)).toEqual({
      hello: {
        serverName: "api.example.com",
        protocols: ["h2", "http/1.1"],
        isEncrypted: false,
      },
    });
  });

  test("without a server name says so", async () => {
    expect(read(await realHello({}))).toMatchObject({ hello: { serverName: undefined } });
    const old = Buffer.concat([
      Buffer.of(1, 0, 0, 41, 3, 3),
      Buffer.alloc(32),
      Buffer.of(0, 0, 2, 0x13, 1, 1, 0),
    ]);
    expect(read(records(old))).toMatchObject({ hello: { serverName: undefined } });
  });

  test.each([
    [0xfe0d, "ECH"],
    [0xffce, "its forerunner ESNI"],
  ])("that is encrypted is told by extension %i (%s)", (type) => {
    const bytes = clientHello({ serverNames: ["a.example.com"], more: [[type, Buffer.of(0)]] });
    expect(read(bytes)).toMatchObject({ hello: { isEncrypted: true } });
  });

  test.each([
    ["two server names", { serverNames: ["a.example.com", "b.example.com"] }],
    ["an empty list of names", { serverNames: [] }],
    ["an address for a name", { serverNames: ["10.0.0.1"] }],
    ["an address in disguise", { serverNames: ["0x7f.1"] }],
    ["a name with a NUL", { serverNames: ["a.example.com\0.evil.example"] }],
    ["a name with a dot at its end", { serverNames: ["a.example.com."] }],
    ["an extension that comes twice", { serverNames: ["a.example.com"], more: [[0, Buffer.of()]] }],
    ["an empty protocol", { protocols: [""] }],
    ["no protocol in the list", { protocols: [] }],
  ] as const)("with %s is malformed", (_, parts) => {
    expect(read(clientHello(parts as never))).toEqual({ flaw: "tls_malformed" });
  });

  test("is told from what is not TLS by its first byte", () => {
    for (const text of ["GET / HTTP/1.1", "SSH-2.0-x", "\x16\x02"]) {
      const reading = read(Buffer.from(text, "latin1"));
      const flaw = text.startsWith("\x16") ? "tls_malformed" : "tls_required";
      expect(reading).toEqual({ flaw });
    }
  });

  test("has bounds: bytes, records, empty records, a second message in its record", () => {
    const huge = helloMessage({ more: [[99, Buffer.alloc(HELLO_BYTES_MAX)]] });
    const message = helloMessage({ serverNames: ["a.example.com"] });
    const inMany = Math.floor(message.length / (HELLO_RECORDS_MAX + 1));
    const flawed = [
      records(huge),
      records(message, inMany),
      Buffer.of(22, 3, 1, 0, 0),
      Buffer.of(22, 3, 1, 0x40, 1),
      records(Buffer.concat([message, message])),
      records(Buffer.concat([Buffer.of(2), message.subarray(1)])),
    ];
    for (const bytes of flawed) expect(read(bytes)).toEqual({ flaw: "tls_malformed" });
    expect(read(records(message, 4))).toMatchObject({ hello: { serverName: "a.example.com" } });
  });

  test("is read alike however it is cut into chunks and records", () => {
    const cases = proofCount("client-hello cuts", { small: 200, full: 5_000 });
    const parts = { serverNames: ["api.example.com"], protocols: ["h2"] };
    const message = helloMessage(parts);
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: message.length }),
        fc.array(fc.nat(message.length * 2), { maxLength: 40 }),
        (recordBytes, cuts) => {
          const bytes = records(message, recordBytes);
          expect(readInPieces(bytes, cuts)).toEqual(read(clientHello(parts)));
        },
      ),
      { numRuns: cases.count, seed: cases.seed },
    );
  });

  test("that was damaged anywhere is read, waited for or refused, and never throws", () => {
    const cases = proofCount("client-hello damage", { small: 500, full: 50_000 });
    const whole = clientHello({ serverNames: ["api.example.com"], protocols: ["http/1.1"] });
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 });
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (changes, length) => {
        const bytes = Buffer.from(whole.subarray(0, length));
        for (const [at, value] of changes) if (at < length) bytes[at] = value;
        const reading = read(bytes);
        if (reading === "more" || "flaw" in reading) return;
        const { serverName } = reading.hello;
        // Whatever comes out as a name is one that grants can be matched against.
        expect(serverName === undefined || /^[a-z0-9_.-]+$/.test(serverName)).toBe(true);
      }),
      { numRuns: cases.count, seed: cases.seed },
    );
  });
});
