import { describe, expect, test } from "vitest";
import { eventually, rawClient, sendAndDrain, statusesOf } from "./dataplane/door.ts";
import { AGENT, connectHead, FAR, proxyAuthorization, tunnelWorld } from "./tunnel-world.ts";

const AUTH = `Proxy-Authorization: ${proxyAuthorization()}\r\n`;
const reasonOf = (text: string) => /x-altrace-reason: ([a-z_]+)/.exec(text)?.[1];

/** CONNECT requests that two readers could read in two ways, or that smuggle a second one. */
const CORPUS: readonly (readonly [what: string, request: string, reason?: string])[] = [
  ["no port", `CONNECT ${FAR} HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["an empty port", `CONNECT ${FAR}: HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["port 0", `CONNECT ${FAR}:0 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a port with a zero before it", `CONNECT ${FAR}:0443 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a port beyond 65535", `CONNECT ${FAR}:65979 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a path", `CONNECT ${FAR}:443/x HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a scheme", `CONNECT https://${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a user", `CONNECT x@${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["two hosts", `CONNECT ${FAR}:443,evil:443 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a percent sign", `CONNECT far%2eexample.com:443 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["another Host", `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: evil.example.com\r\n${AUTH}\r\n`],
  ["another port in Host", `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}:80\r\n${AUTH}\r\n`],
  ["two Hosts", `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["no Host", `CONNECT ${FAR}:443 HTTP/1.1\r\n${AUTH}\r\n`],
  ["HTTP/2.0", `CONNECT ${FAR}:443 HTTP/2.0\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  [
    "a length",
    `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\nContent-Length: 4\r\n${AUTH}\r\nabcd`,
  ],
  [
    "chunks",
    `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\nTransfer-Encoding: chunked\r\n${AUTH}\r\n0\r\n\r\n`,
  ],
  ["a folded header", `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\nX: a\r\n b\r\n${AUTH}\r\n`],
  ["bare line feeds", `CONNECT ${FAR}:443 HTTP/1.1\nHost: ${FAR}\n\n`],
  ["a bare carriage return", `CONNECT ${FAR}:443 HTTP/1.1\rHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a space before a colon", `CONNECT ${FAR}:443 HTTP/1.1\r\nHost : ${FAR}\r\n${AUTH}\r\n`],
  ["a NUL in a header", `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\nX: a\0b\r\n${AUTH}\r\n`],
  ["a NUL in the target", `CONNECT ${FAR}\0:443 HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  [
    "too many headers",
    `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\n${"X: y\r\n".repeat(200)}${AUTH}\r\n`,
    "head_too_large",
  ],
  [
    "a head that is too large",
    `CONNECT ${FAR}:443 HTTP/1.1\r\nHost: ${FAR}\r\nX: ${"y".repeat(20_000)}\r\n${AUTH}\r\n`,
    "head_too_large",
  ],
  ["TLS in its place", "\x16\x03\x01\x02\x00\x01\x00"],
  [
    "CL.TE",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
  ],
  ["an absolute form over HTTPS", `GET https://${FAR}/ HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a user in absolute form", `GET http://x@${FAR}/ HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["a fragment", `GET http://${FAR}/#x HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["an address in brackets", `GET http://[::1]/ HTTP/1.1\r\nHost: [::1]\r\n${AUTH}\r\n`],
  ["a backslash for a path", `GET http://${FAR}\\x HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["an encoded host", `GET http://far%2eexample.com/ HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["another scheme", `GET ftp://${FAR}/ HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}\r\n`],
  ["an absolute form and another Host", `GET http://${FAR}/ HTTP/1.1\r\nHost: a\r\n${AUTH}\r\n`],
  [
    "CL.TE in absolute form",
    `POST http://${FAR}/ HTTP/1.1\r\nHost: ${FAR}\r\n${AUTH}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG`,
  ],
];

describe("the forward door", () => {
  test.each([...CORPUS])("refuses %s, opens nothing and closes", async (...row) => {
    const [, request = "", reason] = row;
    const it = await tunnelWorld();
    const text = await sendAndDrain(it.door.port, Buffer.from(request, "latin1"));
    expect(statusesOf(text).length).toBe(1);
    expect(reasonOf(text)).toBe(reason ?? "malformed_http");
    expect(it.refused).toMatchObject([{ door: "forward" }]);
    expect(it.far.sockets).toEqual([]);
    expect(it.lookedUp).toEqual([]);
    expect(it.connections.count()).toBe(0);
    expect(it.faults).toEqual([]);
  });

  test("takes CONNECT of HTTP/1.0 without a Host, as older Python asks", async () => {
    const it = await tunnelWorld();
    const client = await rawClient(it.door.port);
    client.socket.write(`CONNECT ${FAR}:${it.far.port} HTTP/1.0\r\n${AUTH}\r\n`);
    expect(await client.until(/\r\n\r\n/)).toMatch(/^HTTP\/1.1 200 /);
  });

  test("does not take a second CONNECT within a tunnel for anything but bytes", async () => {
    const it = await tunnelWorld();
    const target = `${FAR}:${it.far.port}`;
    const text = await sendAndDrain(it.door.port, connectHead(target) + connectHead(target));
    expect(text).toMatch(/^HTTP\/1.1 200 /);
    expect(statusesOf(text)).toEqual([200]);
    expect(it.world.settlements.map(({ rc }) => rc)).toEqual(["tls_required"]);
    expect(it.far.sockets).toEqual([]);
  });

  test("opens nothing for a CONNECT behind a request that still waits", async () => {
    const it = await tunnelWorld();
    const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const client = await rawClient(it.door.port);
    client.socket.write(request + connectHead(`${FAR}:${it.far.port}`));
    await eventually(() => it.connections.count() === 1, "the request waits");
    client.socket.end();
    await client.closed;
    await eventually(() => it.connections.count() === 0, "it was given up");
    expect(it.world.decisions).toEqual([]);
    expect(it.far.sockets).toEqual([]);
  });

  test("lets a client leave at any moment without a trace of it staying", async () => {
    const it = await tunnelWorld();
    const bytes = connectHead(`${FAR}:${it.far.port}`);
    for (const length of [1, 30, bytes.length - 1, bytes.length]) {
      const client = await rawClient(it.door.port);
      client.socket.write(bytes.slice(0, length));
      await new Promise((resolve) => setImmediate(resolve));
      client.socket.resetAndDestroy();
    }
    await eventually(() => it.door.connectionCount() === 0, "all are gone");
    await eventually(() => it.connections.count() === 0, "none is registered");
    expect(it.connections.countOf(AGENT)).toBe(0);
    expect(it.faults).toEqual([]);
  });
});
