import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dnsAnswer, openDnsDoor } from "../../../../../node/dataplane/names/dns-door.ts";
import type { DnsCode } from "../../../../../node/dataplane/names/dns-reply.ts";

const granted = (_: string, name: string): "granted" | DnsCode =>
  name === "api.openai.com" ? "granted" : "unknown";

function asked(
  name: string,
  type = 1,
  over: Partial<Record<"flags" | "count" | "klass", number>> = {},
) {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xbeef, 0);
  head.writeUInt16BE(over.flags ?? 0x0100, 2);
  head.writeUInt16BE(over.count ?? 1, 4);
  const labels = name
    .split(".")
    .map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l, "latin1")]));
  const tail = Buffer.alloc(5);
  tail.writeUInt16BE(type, 1);
  tail.writeUInt16BE(over.klass ?? 1, 3);
  return Buffer.concat([head, ...labels, tail]);
}
/** A question whose name is these bytes. */
function pointing(name: string): Buffer {
  return Buffer.from(`beef01000001000000000000${name}00010001`, "hex");
}
/** With an EDNS record, in which there is an option of no known kind. */
function withOpt(question: Buffer): Buffer {
  const option = Buffer.from("secret", "latin1");
  const record = Buffer.alloc(11 + 4);
  record.writeUInt16BE(41, 1);
  record.writeUInt16BE(4096, 3);
  record.writeUInt16BE(4 + option.length, 9);
  record.writeUInt16BE(65_001, 11);
  record.writeUInt16BE(option.length, 13);
  const asking = Buffer.from(question);
  asking.writeUInt16BE(1, 10);
  return Buffer.concat([asking, record, option]);
}
const answerTo = (bytes: Uint8Array) => {
  const answer = dnsAnswer(bytes, "10.0.0.1", granted);
  return answer && Buffer.from(answer);
};
const codeOf = (bytes: Uint8Array) => (answerTo(bytes)?.readUInt16BE(2) ?? 0) & 0xf;

describe("the resolver of captured agents", () => {
  test("serves a real client: granted names in both families, and no others", async () => {
    const sources: string[] = [];
    const door = await openDnsDoor({
      hosts: ["127.0.0.1"],
      port: 0,
      judge: (source, name) => {
        sources.push(source);
        return granted(source, name);
      },
      onFault: (error) => {
        throw error;
      },
    });
    try {
      const resolver = new Resolver();
      resolver.setServers([`127.0.0.1:${door.port}`]);
      const [four] = await resolver.resolve4("api.openai.com");
      expect(four).toMatch(/^198\.1[89]\./);
      expect(await resolver.resolve4("API.OpenAI.com")).toEqual([four]);
      expect((await resolver.resolve6("api.openai.com"))[0]).toMatch(/^fdfa:1700:a17a:ce00:/);
      await expect(resolver.resolveTxt("api.openai.com")).rejects.toMatchObject({
        code: "ENODATA",
      });
      for (const name of ["evil.example", "c2VjcmV0.evil.example", "api.openai.com.cluster.local"])
        await expect(resolver.resolve4(name)).rejects.toMatchObject({ code: "ENOTFOUND" });
      expect(new Set(sources)).toEqual(new Set(["127.0.0.1"]));
    } finally {
      await door.close();
    }
  });

  test("answers nothing to answers, so that two of them do not talk for ever", () => {
    expect(answerTo(asked("api.openai.com", 1, { flags: 0x8180 }))).toBeUndefined();
  });

  test.each([
    ["two questions", asked("api.openai.com", 1, { count: 2 }), 1],
    ["no question", asked("api.openai.com", 1, { count: 0 }), 1],
    ["a name that is cut", asked("api.openai.com").subarray(0, 20), 1],
    ["a pointer in place of a name", Buffer.from("beef01000001000000000000c00c00010001", "hex"), 1],
    ["a label with a dot in it", asked("api.openai.com".replace(".", "\u0001")), 1],
    ["a label of other bytes", asked("\u00e9vil.example"), 1],
    ["another class", asked("api.openai.com", 1, { klass: 3 }), 4],
    ["an update", asked("api.openai.com", 1, { flags: 0x2800 }), 4],
    ["every class at once", asked("api.openai.com", 1, { klass: 255 }), 4],
    ["a label with a pointer behind it", pointing("03617069c00c"), 1],
    ["a pointer past the end", pointing("c0ff"), 1],
    ["a name that is not granted", asked("evil.example"), 3],
    ["one in capitals", asked("EVIL.example"), 3],
    ["one with a record of the client's own beside it", withOpt(asked("evil.example")), 3],
  ])("refuses %s with its own code", (_, bytes, code) => {
    expect(codeOf(bytes)).toBe(code);
  });

  const OTHER_TYPES = {
    NS: 2,
    CNAME: 5,
    PTR: 12,
    MX: 15,
    TXT: 16,
    SRV: 33,
    SVCB: 64,
    HTTPS: 65,
    AXFR: 252,
    ANY: 255,
  };

  test.each(Object.entries(OTHER_TYPES))(
    "says of %s that there is none, of names that are granted alone",
    (_, type) => {
      const answer = answerTo(asked("api.openai.com", type));
      expect([answer?.readUInt16BE(2), answer?.readUInt16BE(6)]).toEqual([0x8580, 0]);
      expect(codeOf(asked("evil.example", type))).toBe(3);
    },
  );

  test("answers a client that says more of itself, and repeats nothing of that", () => {
    const bytes = withOpt(asked("api.openai.com"));
    const answer = answerTo(bytes);
    expect(answer?.readUInt16BE(6)).toBe(1);
    expect(answer?.readUInt16BE(10)).toBe(0);
    expect(answer?.includes("secret")).toBe(false);
  });

  test("has no answer that is much longer than its question: it amplifies nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const answer = dnsAnswer(bytes, "10.0.0.1", () => "granted");
        expect(answer?.length ?? 0).toBeLessThanOrEqual(bytes.length + 28);
      }),
    );
  });

  test("reads any question that is made from labels, and repeats it byte for byte", () => {
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 2, maxLength: 5 }), (labels) => {
        const bytes = asked([...labels, "example"].join("."));
        const answer = answerTo(bytes);
        expect(answer?.subarray(12)).toEqual(bytes.subarray(12));
        expect(answer?.readUInt16BE(0)).toBe(0xbeef);
      }),
    );
  });

  test("opens all of its addresses or none", async () => {
    const taken = createSocket("udp4");
    await new Promise<void>((resolve) => taken.bind(0, "127.0.0.1", resolve));
    const { port } = taken.address();
    const opening = openDnsDoor({
      hosts: ["127.0.0.2", "127.0.0.1"],
      port,
      judge: granted,
      onFault: () => undefined,
    });
    await expect(opening).rejects.toMatchObject({ code: "EADDRINUSE" });
    const free = createSocket("udp4");
    await new Promise<void>((resolve) => free.bind(port, "127.0.0.2", resolve));
    free.close();
    taken.close();
  });
});
