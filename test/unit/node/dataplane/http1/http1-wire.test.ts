import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { BodySource } from "../../../../../node/dataplane/client-wire.ts";
import { Http1Wire } from "../../../../../node/dataplane/http1/http1-wire.ts";
import { twinClock } from "../../../../../ports/twin-clock.ts";

const KEPT = "Connection: keep-alive\r\nKeep-Alive: timeout=65\r\n";
const DATE = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
const GOES_ON = { closes: false, hasLength: false };

/** A wire on a socket that takes everything at once, write by write. */
function wireTo({ isHead = false, writableHighWaterMark = 64 * 1024 } = {}) {
  const writes: string[] = [];
  const pending: (() => void)[] = [];
  let takes = true;
  const socket = new Writable({
    highWaterMark: writableHighWaterMark,
    decodeStrings: false,
    write(chunk: Buffer | string, _encoding, done) {
      writes.push(typeof chunk === "string" ? chunk : chunk.toString("latin1"));
      if (takes) done();
      else pending.push(done);
    },
    writev(chunks, done) {
      writes.push(chunks.map(({ chunk }) => Buffer.from(chunk, "latin1")).join(""));
      done();
    },
  });
  Object.assign(socket, { destroySoon: () => socket.end() });
  const clock = twinClock({ nowMs: Date.UTC(2026, 0, 1) });
  let said = 0;
  const wire = new Http1Wire({
    socket: socket as unknown as Socket,
    body: {} as BodySource,
    isHead,
    clock,
    keptLines: KEPT,
    onSaid: () => said++,
  });
  const stall = (): void => {
    takes = false;
  };
  const take = (): void => {
    takes = true;
    for (const done of pending.splice(0)) done();
  };
  return { wire, writes, socket, said: () => said, stall, take };
}

describe("an answer", () => {
  test("that is there whole is one write, and is said once that was taken", async () => {
    const { wire, writes, said, stall, take } = wireTo();
    stall();
    wire.writeHead(200, ["a", "1", "content-length", "2"], { closes: false, hasLength: true });
    wire.end(Buffer.from("ok"));
    await nextTurn();
    expect([wire.isFinished(), said()]).toEqual([false, 0]);
    take();
    await nextTurn();
    expect(writes).toEqual([
      `HTTP/1.1 200 OK\r\na: 1\r\ncontent-length: 2\r\n${DATE}${KEPT}\r\nok`,
    ]);
    expect([wire.isFinished(), said()]).toEqual([true, 1]);
  });

  test("that is large is one write too, and its body is not copied", async () => {
    const { wire, writes, said } = wireTo({ writableHighWaterMark: 1 });
    wire.writeHead(503, [], { closes: true, hasLength: true });
    wire.end(Buffer.alloc(20_000, "a"));
    await nextTurn();
    const head = `HTTP/1.1 503 Service Unavailable\r\n${DATE}Connection: close\r\n\r\n`;
    expect(writes.join("")).toBe(head + "a".repeat(20_000));
    expect(said()).toBe(1);
  });

  test("that is relayed is in chunks, each one write, the first with the head", async () => {
    const { wire, writes, said } = wireTo();
    wire.writeHead(200, [], GOES_ON);
    wire.flushHead();
    expect(wire.write(Buffer.from("first"))).toBe(true);
    wire.write(Buffer.from(""));
    await nextTurn();
    wire.write(Buffer.from("a longer one....."));
    wire.end();
    await nextTurn();
    const head = `HTTP/1.1 200 OK\r\n${DATE}${KEPT}Transfer-Encoding: chunked\r\n\r\n`;
    const chunks = [`${head}5\r\nfirst\r\n`, "11\r\na longer one.....\r\n", "0\r\n\r\n"];
    expect([writes, said()]).toEqual([chunks, 1]);
  });

  test("of which nothing more comes in its turn shows its head", async () => {
    const { wire, writes } = wireTo();
    wire.writeHead(200, [], GOES_ON);
    wire.flushHead();
    expect(writes).toEqual([]);
    await nextTurn();
    expect(writes.join("")).toMatch(/\r\n\r\n$/);
  });

  test("whose length is declared is in no chunks, and its end is no write", async () => {
    const { wire, writes, said } = wireTo();
    wire.writeHead(200, ["content-length", "2"], { closes: false, hasLength: true });
    wire.write(Buffer.from("ok"));
    wire.end();
    await nextTurn();
    expect(writes.filter((one) => one !== "").length).toBe(1);
    expect([writes.join("").slice(-6), said()]).toEqual(["\r\n\r\nok", 1]);
  });

  test.each([
    ["to HEAD", { isHead: true }, 200],
    ["of 204", {}, 204],
    ["of 304", {}, 304],
  ])(
    "%s has no body, and none is announced that would end in chunks",
    async (_name, of, status) => {
      const { wire, writes, said } = wireTo(of);
      wire.writeHead(status, [], GOES_ON);
      expect(wire.write(Buffer.from("body"))).toBe(true);
      wire.end(Buffer.from("body"));
      await nextTurn();
      expect(writes.join("")).toMatch(/^HTTP\/1\.1 \d+ [A-Za-z ]+\r\n.*\r\n\r\n$/s);
      expect(writes.join("")).not.toMatch(/body|chunked/);
      expect(said()).toBe(1);
    },
  );

  test("that says itself when it was made is not dated once more", async () => {
    const { wire, writes } = wireTo();
    wire.writeHead(200, ["date", "Mon, 02 Nov 2026 00:00:00 GMT"], GOES_ON);
    wire.end();
    await nextTurn();
    expect(writes.join("").match(/^date:.*$/gim)).toEqual(["date: Mon, 02 Nov 2026 00:00:00 GMT"]);
  });

  test("to a body that still comes is over once that is", async () => {
    const { wire, writes, said } = wireTo();
    wire.writeHead(403, ["content-length", "2"], { closes: true, hasLength: true });
    wire.endUnread(Buffer.from("no"));
    await nextTurn();
    expect([writes.length, said(), wire.isFinished()]).toEqual([1, 0, false]);
    wire.unreadOver("ended");
    await nextTurn();
    expect([writes.length, said(), wire.isFinished()]).toEqual([1, 1, true]);
  });
});

test("an answer that is cut without a last frame lacks its last chunk, and with one it is whole", async () => {
  for (const lastFrame of [undefined, Buffer.from("end")]) {
    const { wire, writes } = wireTo();
    wire.writeHead(200, [], GOES_ON);
    wire.write(Buffer.from("a"));
    wire.cut(lastFrame);
    await nextTurn();
    const text = writes.join("");
    const end = lastFrame === undefined ? "1\r\na\r\n" : "1\r\na\r\n3\r\nend\r\n0\r\n\r\n";
    expect(text.slice(text.indexOf("\r\n\r\n") + 4)).toBe(end);
  }
});

test("a reader that is behind is waited for, and whoever waits is told once it is not", async () => {
  const { wire, socket, stall, take } = wireTo({ writableHighWaterMark: 300 });
  stall();
  let drained = 0;
  wire.onDrain(() => drained++);
  wire.writeHead(200, [], GOES_ON);
  expect(wire.write(Buffer.from("a"))).toBe(true);
  expect(wire.write(Buffer.alloc(300))).toBe(false);
  expect(wire.unsentBytes()).toBeGreaterThan(300);
  take();
  await nextTurn();
  expect([drained, wire.unsentBytes()]).toEqual([1, 0]);
  wire.end();
  await nextTurn();
  // The connection goes on to others, whose business this is not.
  expect(socket.listenerCount("drain")).toBe(0);
});

test.each([
  ["a name with a line's end", ["a\r\nb", "1"]],
  ["a name with a space", ["a b", "1"]],
  ["no name", ["", "1"]],
  ["a value with a line's end", ["a", "1\r\nb: 2"]],
  ["a value with a LF", ["a", "1\nb: 2"]],
  ["a value with a NUL", ["a", "\0"]],
  ["a value beyond bytes", ["a", "\u0100"]],
])("%s is a fault, and nothing is written", async (_name, headers) => {
  const { wire, writes } = wireTo();
  expect(() => wire.writeHead(200, headers, GOES_ON)).toThrow("invalid");
  await nextTurn();
  expect(writes).toEqual([]);
});
