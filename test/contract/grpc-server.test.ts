// Our server, and callers that are not ours: what HTTP/2 lets anybody send.

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ChannelCredentials, Client, Metadata, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RpcError } from "../../adapters/grpc-error.ts";
import { framed } from "../../adapters/grpc-frames.ts";
import { type Handlers, served, serveGrpc } from "../../adapters/grpc-server.ts";
import {
  CoordinatorService,
  KillRequestSchema,
  KillResponseSchema,
} from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";

const KILL = "/altrace.v1.CoordinatorService/Kill";
const WATCH = "/altrace.v1.CoordinatorService/WatchCommand";
const BYTES_MAX = 1_000;
const STREAMS_MAX = 4;

let directory: string;
let path: string;
const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "altrace-grpc-"));
  path = join(directory, "s.sock");
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

async function start(some: Partial<Handlers<typeof CoordinatorService>>) {
  const bugs: unknown[] = [];
  const server = await serveGrpc({
    services: [served(CoordinatorService, some as Handlers<typeof CoordinatorService>)],
    listen: [{ kind: "unix", path }],
    requestBytesMax: BYTES_MAX,
    streamsMax: STREAMS_MAX,
    connectionsMax: 8,
    onBug: (error) => bugs.push(error),
  });
  cleanups.push(() => server.close(0));
  return { server, bugs };
}

function session(): ClientHttp2Session {
  const made = connect("http://localhost", { createConnection: () => connectSocket(path) });
  made.on("error", () => undefined);
  cleanups.push(() => made.destroy());
  return made;
}

type Head = Readonly<Record<string, string>>;
const CALL = {
  ":method": "POST",
  ":path": KILL,
  te: "trailers",
  "content-type": "application/grpc",
};

type Answered = { readonly head: Head; readonly trailers: Head; readonly body: Buffer };

async function answered(stream: ClientHttp2Stream): Promise<Answered> {
  let [head, trailers]: [Head, Head] = [{}, {}];
  stream.on("response", (headers) => {
    head = headers as Head;
  });
  stream.on("trailers", (headers) => {
    trailers = headers as Head;
  });
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(stream, "close");
  return { head, trailers, body: Buffer.concat(chunks) };
}

const request = (reason = "") =>
  framed(toBinary(KillRequestSchema, create(KillRequestSchema, { reason })));

async function statusOf(bytes: Buffer, head: Head = {}): Promise<string | undefined> {
  const stream = session().request({ ...CALL, ...head });
  stream.end(bytes);
  const { head: first, trailers } = await answered(stream);
  return trailers["grpc-status"] ?? first["grpc-status"];
}

describe("a request", () => {
  const calls: string[] = [];
  beforeEach(async () => {
    calls.length = 0;
    await start({
      kill: async ({ reason }) => {
        calls.push(reason);
        return { command: { scope: "global" } };
      },
    });
  });

  test("in pieces is one message, answered with head, message and trailers", async () => {
    const stream = session().request(CALL);
    for (const byte of request("drill")) stream.write(Buffer.from([byte]));
    stream.end();
    const { head, trailers, body } = await answered(stream);
    expect(calls).toEqual(["drill"]);
    expect(head).toMatchObject({ ":status": 200, "content-type": "application/grpc+proto" });
    expect(trailers["grpc-status"]).toBe("0");
    expect(fromBinary(KillResponseSchema, body.subarray(5)).command?.scope).toBe("global");
  });

  test.each<[string, Buffer, number]>([
    ["without a message", Buffer.alloc(0), status.UNIMPLEMENTED],
    ["with two messages", Buffer.concat([request(), request()]), status.UNIMPLEMENTED],
    ["that ends inside a message", request("drill").subarray(0, 8), status.UNIMPLEMENTED],
    [
      "that ends inside a second message",
      Buffer.concat([request(), request("drill").subarray(0, 8)]),
      status.UNIMPLEMENTED,
    ],
    ["that is compressed", Buffer.from([1, 0, 0, 0, 0]), status.UNIMPLEMENTED],
    ["that says it is too long", Buffer.from([0, 0, 1, 0, 0]), status.RESOURCE_EXHAUSTED],
    ["of bytes that are no message", framed(Buffer.from([0x0a, 0xff])), status.INVALID_ARGUMENT],
  ])("%s is refused, and not acted on", async (_what, bytes, code) => {
    expect(await statusOf(bytes)).toBe(String(code));
    expect(calls).toEqual([]);
  });

  test("for a method that there is not is refused", async () => {
    for (const name of ["/altrace.v1.CoordinatorService/Nothing", "/", "/toString"]) {
      expect(await statusOf(request(), { ":path": name })).toBe(String(status.UNIMPLEMENTED));
    }
  });

  test.each([
    ["another content type", { "content-type": "application/json" }],
    ["another method of HTTP", { ":method": "PUT" }],
  ])("of %s is none of gRPC", async (_what, head) => {
    const stream = session().request({ ...CALL, ...head });
    stream.end(request());
    expect((await answered(stream)).head[":status"]).toBe(415);
    expect(calls).toEqual([]);
  });

  test("that its caller breaks off is not acted on, and the next one is", async () => {
    const one = session();
    const broken = one.request(CALL);
    broken.write(request("broken").subarray(0, 7));
    await once(broken, "ready");
    broken.close(8);
    await once(broken, "close");
    const next = one.request(CALL);
    next.end(request("whole"));
    expect((await answered(next)).trailers["grpc-status"]).toBe("0");
    expect(calls).toEqual(["whole"]);
  });

  test.each([["1H"], ["1M"], ["1S"], ["100m"], ["100000u"], ["99999999n"]])(
    "with a deadline of %s is answered before it",
    async (timeout) => {
      expect(await statusOf(request(), { "grpc-timeout": timeout })).toBe("0");
    },
  );
});

test("a deadline in every unit ends a call that is not done", async () => {
  await start({ kill: () => new Promise(() => undefined) });
  for (const timeout of ["1m", "1000u", "1000000n", "0S"]) {
    expect(await statusOf(request(), { "grpc-timeout": timeout })).toBe(
      String(status.DEADLINE_EXCEEDED),
    );
  }
});

test("what is said of a refusal is read by the official client", async () => {
  await start({
    kill: async () => {
      const message = "100 % of “täm”\nis none";
      throw new RpcError({ code: "NOT_FOUND", reason: "nothing", message });
    },
  });
  const official = new Client(`unix:${path}`, ChannelCredentials.createInsecure());
  cleanups.push(() => official.close());
  const identity = (bytes: Buffer): Buffer => bytes;
  const error = await new Promise((resolve) => {
    official.makeUnaryRequest(KILL, identity, identity, Buffer.alloc(0), new Metadata(), resolve);
  });
  expect(error).toMatchObject({ code: status.NOT_FOUND, details: "100 % of “täm”\nis none" });
});

test("a caller that does not read holds its handler back, and nobody else's", async () => {
  let made = 0;
  let isEnded = false;
  await start({
    kill: async () => ({}),
    watchCommand: async function* () {
      try {
        // Never waits for anything itself: without being held back it would be alone in this process.
        for (; ; made += 1) yield { command: { scope: "x".repeat(10_000) } };
      } finally {
        isEnded = true;
      }
    },
  });
  const one = session();
  const stream = one.request({ ...CALL, ":path": WATCH });
  stream.end(framed(Buffer.alloc(0)));
  await once(stream, "response");
  const beside = one.request(CALL);
  beside.end(request());
  expect((await answered(beside)).trailers["grpc-status"]).toBe("0");
  expect(made).toBeLessThan(1_000);
  const held = made;
  stream.on("data", () => undefined);
  await expect.poll(() => made).toBeGreaterThan(held);
  stream.close(8);
  await expect.poll(() => isEnded).toBe(true);
});

test("a connection is told how many calls it may have at once", async () => {
  await start({});
  const one = session();
  await once(one, "remoteSettings");
  expect(one.remoteSettings.maxConcurrentStreams).toBe(STREAMS_MAX);
});

test("closing ends connections that are idle or have said nothing", async () => {
  const { server } = await start({ kill: async () => ({}) });
  const one = session();
  await once(one, "connect");
  const silent = connectSocket(path);
  await once(silent, "connect");
  const ended = Promise.all([once(one, "close"), once(silent, "close")]);
  silent.resume();
  await server.close(1);
  await ended;
});
