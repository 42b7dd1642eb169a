import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import type { LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createNameResolver, parseHosts } from "../../../adapters/name-resolution.ts";
import type { NameResolver } from "../../../ports/names.ts";
import { type TwinClock, twinClock } from "../../../ports/twin-clock.ts";

type Zone = { [name: string]: { v4?: string[]; v6?: string[]; ttl?: number } };

/** A name server that knows a few names and counts what it is asked. */
async function startNameServer(zone: Zone) {
  const asked: string[] = [];
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    const { name, type, end } = questionOf(query);
    const known = zone[name];
    asked.push(`${name} ${type === 28 ? "AAAA" : "A"}`);
    const addresses = (type === 28 ? known?.v6 : known?.v4) ?? [];
    const answers = addresses.map((one) => answer(type, one, known?.ttl ?? 60));
    const head = Buffer.alloc(12);
    head.writeUInt16BE(query.readUInt16BE(0), 0);
    head.writeUInt16BE(known === undefined ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(answers.length, 6);
    const question = query.subarray(12, end);
    socket.send(Buffer.concat([head, question, ...answers]), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return { asked, address: `127.0.0.1:${socket.address().port}`, socket };
}

function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let size = query[at] as number; size > 0; size = query[at] as number) {
    labels.push(query.toString("latin1", at + 1, at + 1 + size));
    at += size + 1;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function answer(type: number, address: string, ttl: number): Buffer {
  const data =
    type === 28
      ? Buffer.from(
          address
            .split(":")
            .map((part) => part.padStart(4, "0"))
            .join(""),
          "hex",
        )
      : Buffer.from(address.split(".").map(Number));
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

let folder: string;
let clock: TwinClock;
let sockets: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "altrace-hosts-"));
  clock = twinClock();
});

afterEach(() => {
  for (const socket of sockets) socket.close();
  sockets = [];
  rmSync(folder, { recursive: true });
});

async function resolverFor(zone: Zone): Promise<{ resolver: NameResolver; asked: string[] }> {
  const server = await startNameServer(zone);
  sockets.push(server.socket);
  const hostsFile = join(folder, "hosts");
  const servers = [server.address];
  const resolver = createNameResolver({ clock, servers, hostsFile, timeoutMs: 500 });
  return { resolver, asked: server.asked };
}

const V6 = "2001:db8:0:0:0:0:0:1";

describe("a name", () => {
  test("has the addresses of both families", async () => {
    const { resolver } = await resolverFor({ "api.test": { v4: ["192.0.2.1"], v6: [V6] } });
    expect(await resolver.resolve("api.test")).toEqual([
      { address: "192.0.2.1", family: 4 },
      { address: "2001:db8::1", family: 6 },
    ]);
  });

  test("of one family has those alone", async () => {
    const { resolver } = await resolverFor({ "v4.test": { v4: ["192.0.2.1", "192.0.2.2"] } });
    const addresses = await resolver.resolve("V4.test.");
    expect(addresses.map(({ address }) => address).toSorted()).toEqual(["192.0.2.1", "192.0.2.2"]);
  });

  test("that is not known is a fault with its code", async () => {
    const { resolver } = await resolverFor({});
    await expect(resolver.resolve("none.test")).rejects.toMatchObject({ code: "ENOTFOUND" });
  });

  test("is asked for once by all who ask meanwhile, and again after its time", async () => {
    const zone = { "api.test": { v4: ["192.0.2.1"], ttl: 7 } };
    const { resolver, asked } = await resolverFor(zone);
    await Promise.all([resolver.resolve("api.test"), resolver.resolve("api.test")]);
    expect(asked).toHaveLength(2);
    clock.advance(6_999);
    await resolver.resolve("api.test");
    expect(asked).toHaveLength(2);
    clock.advance(1);
    await resolver.resolve("api.test");
    expect(asked).toHaveLength(4);
  });

  test("is kept for a second at least and half a minute at most", async () => {
    const zone = {
      "short.test": { v4: ["192.0.2.1"], ttl: 0 },
      "long.test": { v4: ["192.0.2.1"], ttl: 9_999 },
    };
    const { resolver, asked } = await resolverFor(zone);
    for (const name of ["short.test", "long.test"]) await resolver.resolve(name);
    clock.advance(999);
    await resolver.resolve("short.test");
    expect(asked).toHaveLength(4);
    clock.advance(29_001);
    await resolver.resolve("long.test");
    expect(asked).toHaveLength(6);
  });

  test("that is an address is one", async () => {
    const { resolver, asked } = await resolverFor({});
    expect(await resolver.resolve("192.0.2.7")).toEqual([{ address: "192.0.2.7", family: 4 }]);
    expect(await resolver.resolve("2001:db8::7")).toEqual([{ address: "2001:db8::7", family: 6 }]);
    expect(asked).toEqual([]);
  });

  test("of this machine needs no server", async () => {
    const { resolver, asked } = await resolverFor({});
    expect(await resolver.resolve("localhost")).toContainEqual({ address: "127.0.0.1", family: 4 });
    expect(await resolver.resolve("a.localhost")).toHaveLength(2);
    expect(asked).toEqual([]);
  });
});

describe("the hosts file", () => {
  test("comes first, and is read again when it has changed", async () => {
    const { resolver, asked } = await resolverFor({ "api.test": { v4: ["192.0.2.1"] } });
    writeFileSync(join(folder, "hosts"), "10.0.0.1 api.test # mine\n");
    expect(await resolver.resolve("api.test")).toEqual([{ address: "10.0.0.1", family: 4 }]);
    writeFileSync(join(folder, "hosts"), "10.0.0.2 other.test API.test\n");
    clock.advance(1_000);
    expect(await resolver.resolve("api.test")).toEqual([{ address: "10.0.0.2", family: 4 }]);
    rmSync(join(folder, "hosts"));
    clock.advance(1_000);
    expect(await resolver.resolve("api.test")).toEqual([{ address: "192.0.2.1", family: 4 }]);
    expect(asked).toHaveLength(2);
  });

  test("has names with several addresses, and lines that are not", () => {
    const names = parseHosts(
      "127.0.0.1\tlocalhost lo\n::1 localhost\n#1.1.1.1 x\nnot an.address\n",
    );
    expect(names.get("localhost")).toEqual([
      { address: "127.0.0.1", family: 4 },
      { address: "::1", family: 6 },
    ]);
    expect(names.get("lo")).toHaveLength(1);
    expect(names.has("x")).toBe(false);
    expect(names.has("an.address")).toBe(false);
  });
});

describe("a socket's look-up", () => {
  type Options = Parameters<LookupFunction>[1];
  const lookup = (resolver: NameResolver, name: string, options: Options) =>
    new Promise((settle) => {
      resolver.lookup(name, options, (error, ...found) => settle(error?.code ?? found));
    });

  test("gets all addresses, or the first of a family", async () => {
    const { resolver } = await resolverFor({ "api.test": { v4: ["192.0.2.1"], v6: [V6] } });
    expect(await lookup(resolver, "api.test", { all: true })).toEqual([
      [
        { address: "192.0.2.1", family: 4 },
        { address: "2001:db8::1", family: 6 },
      ],
    ]);
    expect(await lookup(resolver, "api.test", {})).toEqual(["192.0.2.1", 4]);
    expect(await lookup(resolver, "api.test", { family: 6 })).toEqual(["2001:db8::1", 6]);
  });

  test("gets a fault where there is no address of the family, or no name", async () => {
    const { resolver } = await resolverFor({ "v4.test": { v4: ["192.0.2.1"] } });
    expect(await lookup(resolver, "v4.test", { family: 6 })).toBe("ENOTFOUND");
    expect(await lookup(resolver, "none.test", { all: true })).toBe("ENOTFOUND");
  });
});

test("a server that does not answer is a fault of time", async () => {
  const silent = createSocket("udp4");
  silent.bind(0, "127.0.0.1");
  await once(silent, "listening");
  sockets.push(silent);
  const servers = [`127.0.0.1:${silent.address().port}`];
  const hostsFile = join(folder, "hosts");
  const resolver = createNameResolver({ clock, servers, hostsFile, timeoutMs: 50 });
  await expect(resolver.resolve("api.test")).rejects.toMatchObject({ code: "ETIMEOUT" });
});
