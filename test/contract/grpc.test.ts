import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import {
  createServer as createHttp2Server,
  constants as http2Constants,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer as createNetServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  ChannelCredentials,
  Client,
  makeGenericClientConstructor,
  type Server,
  type ServiceDefinition,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, service as healthService } from "grpc-health-check";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { fingerprintOf } from "../../adapters/grpc-caller.ts";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import type { GrpcTarget } from "../../adapters/grpc-connection.ts";
import { RpcError } from "../../adapters/grpc-error.ts";
import { INTROSPECTION } from "../../adapters/grpc-introspection.ts";
import { RevokedCertificates } from "../../adapters/grpc-revoked.ts";
import {
  type CallContext,
  type GrpcListen,
  type GrpcServer,
  type Handlers,
  served,
  serveGrpc,
} from "../../adapters/grpc-server.ts";
import {
  type Authority,
  createRoot,
  issueCertificate,
  type Subject,
} from "../../adapters/x509-authority.ts";
import {
  CALL_ROLES,
  type CallRole,
  callerUri,
  LEAST_ROLE,
  reaches,
} from "../../proto/call-roles.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";

const NAME = "altrace.v1.CoordinatorService";

let directory: string;
const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "altrace-grpc-"));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

const unimplemented = (): never => {
  throw new RpcError({ code: "UNIMPLEMENTED", reason: "unimplemented", message: "Not here." });
};

function handlersWith(
  some: Partial<Handlers<typeof CoordinatorService>>,
): Handlers<typeof CoordinatorService> {
  const all = Object.fromEntries(
    CoordinatorService.methods.map((method) => [method.localName, unimplemented]),
  );
  return { ...all, ...some } as Handlers<typeof CoordinatorService>;
}

const bugs: unknown[] = [];
async function start(
  some: Partial<Handlers<typeof CoordinatorService>>,
  listen: GrpcListen = { kind: "unix", path: join(directory, "s.sock") },
  revoked = new RevokedCertificates(),
): Promise<GrpcServer> {
  bugs.length = 0;
  const server = await serveGrpc({
    services: [served(CoordinatorService, handlersWith(some))],
    listen: [listen],
    requestBytesMax: 65_536,
    streamsMax: 16,
    connectionsMax: 8,
    revoked,
    refusalOf: (error) =>
      error instanceof RangeError
        ? { code: "RESOURCE_EXHAUSTED", reason: "too_much", message: error.message }
        : undefined,
    onBug: (error) => bugs.push(error),
  });
  cleanups.push(() => server.close(0));
  return server;
}

function client(target: GrpcTarget = { kind: "unix", path: join(directory, "s.sock") }) {
  const made = createGrpcClient(CoordinatorService, target);
  cleanups.push(() => made.close());
  return made.calls;
}

async function failure(promise: Promise<unknown>): Promise<RpcError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(RpcError);
  return outcome as RpcError;
}

describe("calls", () => {
  test("a unary call carries its message both ways", async () => {
    await start({
      kill: async (request) => ({ command: { scope: request.scope, v: 7n, accepted: true } }),
    });
    const answer = await client().kill({ scope: "team/payments", reason: "drill" });
    expect(answer.command).toMatchObject({ scope: "team/payments", v: 7n, accepted: true });
  });

  test("a server stream ends when its handler does", async () => {
    await start({
      watchCommand: async function* (request) {
        for (let i = 1; i <= 3; i++) yield { command: { cmdId: request.cmdId, nodesTotal: i } };
      },
    });
    const seen: number[] = [];
    for await (const update of client().watchCommand({ cmdId: "c" })) {
      seen.push(update.command?.nodesTotal ?? -1);
    }
    expect(seen).toEqual([1, 2, 3]);
  });

  test("a reader that leaves ends the handler", async () => {
    let ended: (() => void) | undefined;
    const left = new Promise<void>((resolve) => {
      ended = resolve;
    });
    await start({
      watchCommand: async function* (_request, context) {
        yield { command: { v: 1n } };
        await once(context.signal, "abort");
        ended?.();
      },
    });
    for await (const _update of client().watchCommand({})) break;
    await left;
    expect(bugs).toEqual([]);
  });

  test("a cancelled call aborts its handler and fails as cancelled", async () => {
    const controller = new AbortController();
    let aborted = false;
    await start({
      kill: async (_request, context) => {
        queueMicrotask(() => controller.abort());
        await once(context.signal, "abort");
        aborted = true;
        return {};
      },
    });
    const error = await failure(client().kill({}, { signal: controller.signal }));
    expect(error.code).toBe("CANCELLED");
    await expect.poll(() => aborted).toBe(true);
  });

  test("a deadline reaches the handler and ends it there", async () => {
    let deadlineAtMs: number | undefined;
    let aborted = false;
    await start({
      kill: async (_request, context) => {
        deadlineAtMs = context.deadlineAtMs;
        await once(context.signal, "abort");
        aborted = true;
        return {};
      },
    });
    const error = await failure(client().kill({}, { timeoutMs: 100 }));
    expect(error.code).toBe("DEADLINE_EXCEEDED");
    expect(deadlineAtMs).toBeTypeOf("number");
    await expect.poll(() => aborted).toBe(true);
  });
});

describe("errors", () => {
  test("a refusal arrives with its code, reason, field and message", async () => {
    await start({
      kill: async () => {
        throw new RpcError({
          code: "INVALID_ARGUMENT",
          reason: "malformed_scope",
          field: "scope",
          message: "Scopes are global, team/<t> or agent/<t>/<a>: “täm” is none.",
        });
      },
    });
    const error = await failure(client().kill({}));
    expect(error).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "malformed_scope",
      field: "scope",
      message: "Scopes are global, team/<t> or agent/<t>/<a>: “täm” is none.",
    });
  });

  test("a stream's refusal arrives after what was sent before it", async () => {
    await start({
      watchCommand: async function* () {
        yield { command: { v: 1n } };
        throw new RpcError({ code: "ABORTED", reason: "conflict", message: "Newer exists." });
      },
    });
    const seen: bigint[] = [];
    const read = async (): Promise<void> => {
      for await (const update of client().watchCommand({})) seen.push(update.command?.v ?? 0n);
    };
    expect(await failure(read())).toMatchObject({ code: "ABORTED", reason: "conflict" });
    expect(seen).toEqual([1n]);
  });

  test("a message that no header can carry still fails with its code", async () => {
    await start({
      kill: async () => {
        throw new RpcError({ code: "ABORTED", reason: "x", message: `\ud800${"y".repeat(9000)}` });
      },
    });
    expect(await failure(client().kill({}))).toMatchObject({ code: "ABORTED", reason: "x" });
  });

  test("an error that the service knows is the refusal that it stands for", async () => {
    await start({
      kill: async () => {
        throw new RangeError("too much");
      },
    });
    expect(await failure(client().kill({}))).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      reason: "too_much",
    });
    expect(bugs).toEqual([]);
  });

  test("a bug is told to the log and not to the caller", async () => {
    await start({
      kill: async () => {
        throw new TypeError("secret detail");
      },
    });
    const error = await failure(client().kill({}));
    expect(error).toMatchObject({ code: "INTERNAL", reason: "internal" });
    expect(error.message).not.toContain("secret");
    expect(bugs).toEqual([new TypeError("secret detail")]);
  });

  test("bytes that are no message are the caller's fault", async () => {
    await start({ kill: async () => ({}) });
    const raw = new Client(
      `unix:${join(directory, "s.sock")}`,
      ChannelCredentials.createInsecure(),
    );
    cleanups.push(() => raw.close());
    const code = await new Promise((resolve) => {
      const identity = (bytes: Buffer): Buffer => bytes;
      raw.makeUnaryRequest(
        `/${NAME}/Kill`,
        identity,
        identity,
        Buffer.from([0x0a, 0xff]),
        (error) => {
          resolve(error?.code);
        },
      );
    });
    expect(code).toBe(status.INVALID_ARGUMENT);
  });

  test("a request over the limit is refused unread", async () => {
    let called = false;
    await start({
      kill: async () => {
        called = true;
        return {};
      },
    });
    const error = await failure(client().kill({ reason: "r".repeat(70_000) }));
    expect(error.code).toBe("RESOURCE_EXHAUSTED");
    expect(called).toBe(false);
  });
});

/** What is no server of ours: it answers every call as it is told. */
async function answering(fn: (stream: ServerHttp2Stream) => void): Promise<void> {
  const server = createHttp2Server();
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => undefined);
    fn(stream);
  });
  server.listen(join(directory, "s.sock"));
  cleanups.push(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  await once(server, "listening");
}

const answer = (trailers: object, ...frames: readonly Buffer[]) => {
  return (stream: ServerHttp2Stream): void => {
    stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ ...trailers }));
    stream.end(Buffer.concat(frames));
  };
};
const OK = { "grpc-status": "0" };
const EMPTY = Buffer.from([0, 0, 0, 0, 0]);

describe("a client of a server that is not ours", () => {
  const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2Constants;
  test.each<[string, (stream: ServerHttp2Stream) => void, RpcError["code"], RegExp]>([
    [
      "a status in its only head",
      (s) => s.respond({ "grpc-status": "9" }, { endStream: true }),
      "FAILED_PRECONDITION",
      /^$/,
    ],
    [
      "a message that is percent-encoded",
      answer({ "grpc-status": "5", "grpc-message": "no%20t%C3%A4m" }),
      "NOT_FOUND",
      /^no täm$/,
    ],
    [
      "one that is not, rightly",
      answer({ "grpc-status": "5", "grpc-message": "100%" }),
      "NOT_FOUND",
      /^100%$/,
    ],
    ["a code that nobody knows", answer({ "grpc-status": "77" }), "INTERNAL", /^$/],
    [
      "details that are none",
      answer({ "grpc-status": "10", "grpc-status-details-bin": "//8" }),
      "ABORTED",
      /^$/,
    ],
    ["no status", answer({}, EMPTY), "INTERNAL", /without a status/],
    ["no message", answer(OK), "INTERNAL", /0 messages/],
    ["two messages", answer(OK, EMPTY, EMPTY), "INTERNAL", /2 messages/],
    [
      "half a message, and why",
      answer({ "grpc-status": "8", "grpc-message": "full" }, Buffer.from([0, 0, 0, 0, 9, 1])),
      "RESOURCE_EXHAUSTED",
      /^full$/,
    ],
    ["half a message", answer(OK, Buffer.from([0, 0, 0, 0, 9, 1])), "INTERNAL", /inside a message/],
    ["a compressed one", answer(OK, Buffer.from([1, 0, 0, 0, 0])), "INTERNAL", /compressed/],
    [
      "one that is too long",
      answer(OK, Buffer.from([0, 0x10, 0, 0, 0])),
      "RESOURCE_EXHAUSTED",
      /at most/,
    ],
    [
      "HTTP's own no",
      (s) => s.respond({ ":status": 503 }, { endStream: true }),
      "UNAVAILABLE",
      /503/,
    ],
    ["its going", (s) => s.session?.destroy(), "UNAVAILABLE", /No connection/],
    [
      "its not having looked",
      (s) => s.close(NGHTTP2_REFUSED_STREAM),
      "UNAVAILABLE",
      /No connection/,
    ],
    ["its breaking off", (s) => s.close(NGHTTP2_CANCEL), "INTERNAL", /without a status \(8\)/],
    ["its ending unsaid", (s) => s.close(NGHTTP2_NO_ERROR), "INTERNAL", /without a status \(0\)/],
  ])("hears %s", async (_what, fn, code, message) => {
    await answering(fn);
    const error = await failure(client().kill({}));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.reason).toBe(code.toLowerCase());
  });

  test("hears that an answer is no message of the method's as a refusal with its reason", async () => {
    await answering(answer(OK, Buffer.from([0, 0, 0, 0, 2, 0x0a, 0xff])));
    const error = await failure(client().kill({}));
    expect(error).toMatchObject({ code: "INTERNAL", reason: "malformed_message" });
    expect(error.message).toMatch(/^Kill was answered with something that is no KillResponse/);
  });

  test("finds it again once it is back, and is told why it is not there", async () => {
    const calls = client();
    const missing = await failure(calls.kill({}));
    expect(missing).toMatchObject({ code: "UNAVAILABLE", reason: "unavailable" });
    expect(missing.message).toContain("ENOENT");
    for (let i = 0; i < 2; i += 1) {
      const server = await start({ kill: async () => ({ command: { v: BigInt(i) } }) });
      const answers = await Promise.all([calls.kill({}), calls.kill({})]);
      expect(answers.map(({ command }) => command?.v)).toEqual([BigInt(i), BigInt(i)]);
      await server.close(0);
    }
  });

  test("makes a call that was refused unseen once more, and no third time", async () => {
    let calls = 0;
    let refusals = 1;
    await answering((stream) => {
      calls += 1;
      if (calls > refusals) answer(OK, EMPTY)(stream);
      else stream.close(NGHTTP2_REFUSED_STREAM);
    });
    await client().kill({}, { timeoutMs: 20_000 });
    expect(calls).toBe(2);
    refusals = Number.POSITIVE_INFINITY;
    expect(await failure(client().kill({}))).toMatchObject({ code: "UNAVAILABLE" });
    expect(calls).toBe(4);
  });

  test("makes a call that was answered in part no second time, though it says that it refused it", async () => {
    let calls = 0;
    await answering((stream) => {
      calls += 1;
      stream.respond({ "content-type": "application/grpc" });
      stream.write(EMPTY, () => stream.close(NGHTTP2_REFUSED_STREAM));
    });
    const seen: unknown[] = [];
    const watching = (async () => {
      for await (const update of client().watchCommand({ cmdId: "c" })) seen.push(update);
    })();
    expect(await failure(watching)).toMatchObject({ code: "UNAVAILABLE" });
    expect([calls, seen.length]).toEqual([1, 1]);
  });

  test("makes a call that it has taken back no second time", async () => {
    let calls = 0;
    const leaving = new AbortController();
    await answering((stream) => {
      calls += 1;
      leaving.abort();
      stream.close(NGHTTP2_REFUSED_STREAM);
    });
    const left = await failure(client().kill({}, { signal: leaving.signal }));
    expect(left).toMatchObject({ code: "CANCELLED" });
    expect(calls).toBe(1);
  });

  test("does not wait longer than it was told for one that says nothing", async () => {
    const silent = createNetServer().listen(join(directory, "s.sock"));
    cleanups.push(() => silent.close());
    const sockets: Socket[] = [];
    silent.on("connection", (socket) => sockets.push(socket));
    await once(silent, "listening");
    const error = await failure(client().kill({}, { timeoutMs: 20 }));
    expect(error.code).toBe("DEADLINE_EXCEEDED");
    for (const socket of sockets) socket.destroy();
  });
});

describe("unix socket", () => {
  test("is reachable by this user alone", async () => {
    const path = join(directory, "home", "s.sock");
    const mask = process.umask(0);
    cleanups.push(() => process.umask(mask));
    const masked = vi.spyOn(process, "umask");
    cleanups.push(() => masked.mockRestore());
    await start({}, { kind: "unix", path });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "home")).mode & 0o777).toBe(0o700);
    expect(process.umask()).toBe(0);
    // It is the mask of every thread: not even for a moment.
    expect(masked).not.toHaveBeenCalledWith(expect.anything());
  });

  test("is refused in a directory that others can enter", async () => {
    chmodSync(directory, 0o755);
    await expect(start({})).rejects.toThrow("mode 0700");
  });

  test("a file left by a crash is replaced, a live socket is not", async () => {
    const path = join(directory, "s.sock");
    const script = `require("net").createServer().listen(process.argv[1],()=>process.kill(process.pid,9))`;
    try {
      execFileSync(process.execPath, ["-e", script, path]);
    } catch {
      // The process is meant to die by its own signal, leaving the file.
    }
    expect(existsSync(path)).toBe(true);
    await start({ kill: async () => ({}) });
    await client().kill({});
    await expect(start({})).rejects.toThrow("socket_in_use");
    await client().kill({});
  });

  test("a file that is no socket is left alone", async () => {
    const path = join(directory, "s.sock");
    execFileSync("sh", ["-c", `echo precious > ${path}`]);
    await expect(start({})).rejects.toThrow(`cannot listen on ${path}`);
    expect(readFileSync(path, "utf8")).toBe("precious\n");
  });

  test("a path the kernel would cut is refused", async () => {
    const path = join(directory, "x".repeat(90), "s.sock");
    await expect(start({}, { kind: "unix", path })).rejects.toThrow("socket_path_too_long");
  });

  test("closing lets a running call finish and removes the socket", async () => {
    let release: (() => void) | undefined;
    let running: (() => void) | undefined;
    const began = new Promise<void>((resolve) => {
      running = resolve;
    });
    const server = await start({
      kill: async () => {
        running?.();
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return { command: { v: 5n } };
      },
    });
    const call = client().kill({});
    await began;
    const closed = server.close(60_000);
    release?.();
    expect((await call).command?.v).toBe(5n);
    await closed;
    expect(existsSync(join(directory, "s.sock"))).toBe(false);
  });

  test("closing ends a call that does not finish", async () => {
    let running: (() => void) | undefined;
    const began = new Promise<void>((resolve) => {
      running = resolve;
    });
    const server = await start({
      kill: async (_request, context) => {
        running?.();
        await once(context.signal, "abort");
        return {};
      },
    });
    const call = failure(client().kill({}));
    await began;
    await server.close(10);
    await call;
  });
});

describe("TLS", () => {
  const nowMs = Date.now();
  const notAfterMs = nowMs + 3_600_000;
  const address = [{ type: "ip", value: "127.0.0.1" }] as const;
  const uri = (value: string) => [{ type: "url", value }] as const;
  let root: Authority;
  let server: Authority;
  let port: number;

  const issue = (names: Subject["names"], use: Subject["use"], under = root): Promise<Authority> =>
    issueCertificate({ root: under, subject: { name: "cn", names, use }, nowMs, notAfterMs });
  const caller = (role: CallRole): Promise<Authority> =>
    issue(uri(callerUri("demo", role, "alice")), "client");
  const target = (who: Authority, host = "127.0.0.1"): GrpcTarget => ({
    kind: "tls",
    host,
    port,
    serverCaPem: root.certificate,
    certificatePem: who.certificate,
    keyPem: who.privateKey,
  });
  const listenOn = (at: number): GrpcListen => ({
    kind: "tls",
    host: "127.0.0.1",
    port: at,
    certificatePem: server.certificate,
    keyPem: server.privateKey,
    clientCaPem: root.certificate,
    mesh: "demo",
  });
  const soon = { timeoutMs: 2_000 };

  beforeAll(async () => {
    root = await createRoot({ name: "root", nowMs, validMs: 3_600_000 });
    server = await issue(address, "server");
  });
  async function serve(): Promise<void> {
    const started = await start(
      {
        kill: async (_request, context) => ({
          command: { scope: context.caller?.name ?? "nobody" },
        }),
      },
      listenOn(0),
    );
    port = started.ports[0] as number;
  }

  test("serves holders of a certificate of the right authority, and says who they are", async () => {
    await serve();
    const operator = await caller("operator");
    const answer = await client(target(operator)).kill({});
    expect(answer.command?.scope).toBe("alice");
    // The certificate is of 127.0.0.1, and a name that leads there is another name.
    const unproven = await failure(client(target(operator, "localhost")).kill({}, soon));
    expect(["UNAVAILABLE", "DEADLINE_EXCEEDED"]).toContain(unproven.code);
    const other = await createRoot({ name: "root", nowMs, validMs: 3_600_000 });
    const stranger = await issue(uri(callerUri("demo", "admin", "alice")), "client", other);
    // A server's certificate is good for one side alone, whatever it names.
    const misused = await issue(uri(callerUri("demo", "admin", "alice")), "server");
    for (const one of [stranger, misused]) {
      const refused = await failure(client(target(one)).kill({}, soon));
      expect(["UNAVAILABLE", "DEADLINE_EXCEEDED"]).toContain(refused.code);
    }
  });

  test("C4: a certificate that is revoked ends what it has open, and nobody else's", async () => {
    const revoked = new RevokedCertificates();
    const watch = async function* (_request: unknown, context: CallContext) {
      yield { command: { scope: context.caller?.name ?? "nobody" } };
      await once(context.signal, "abort");
    };
    const started = await start({ watchCommand: watch }, listenOn(0), revoked);
    port = started.ports[0] as number;
    const [lost, kept] = await Promise.all([caller("viewer"), caller("viewer")]);
    const streams = [lost, kept].map((who) =>
      client(target(who)).watchCommand({ cmdId: "c" })[Symbol.asyncIterator](),
    ) as [AsyncIterator<unknown>, AsyncIterator<unknown>];
    for (const stream of streams) expect((await stream.next()).done).toBe(false);
    const ended = failure(streams[0].next());
    let isKeptEnded = false;
    const noteEnd = (): void => {
      isKeptEnded = true;
    };
    void streams[1].next().then(noteEnd, noteEnd);
    revoked.add(fingerprintOf(new X509Certificate(lost.certificate)));
    expect((await ended).code).toBe("UNAVAILABLE");
    const refused = await failure(client(target(lost)).listKills({}));
    expect(refused).toMatchObject({ code: "UNAUTHENTICATED", reason: "certificate_revoked" });
    expect((await failure(client(target(kept)).listKills({}))).code).toBe("UNIMPLEMENTED");
    expect(isKeptEnded).toBe(false);
  });

  test.each(CALL_ROLES)("lets %s make the calls of its role and none above it", async (role) => {
    await serve();
    const calls = client(target(await caller(role)));
    for (const method of CoordinatorService.methods) {
      const call = calls[method.localName as keyof typeof calls] as (of: object) => unknown;
      const made = call({});
      const ended =
        method.methodKind === "server_streaming"
          ? (async () => {
              for await (const _one of made as AsyncIterable<unknown>) break;
            })()
          : (made as Promise<unknown>);
      const code = await ended.then(
        () => "OK",
        (error: RpcError) => error.code,
      );
      const least = LEAST_ROLE[`${NAME}/${method.name}`] as CallRole;
      const served = method.localName === "kill" ? "OK" : "UNIMPLEMENTED";
      expect(`${method.name} ${code}`).toBe(
        `${method.name} ${reaches(role, least) ? served : "PERMISSION_DENIED"}`,
      );
    }
  });

  test.each([
    ["no name of ours", [{ type: "dns", value: "alice.example.com" }]],
    ["a role of another mesh", uri(callerUri("other", "admin", "alice"))],
    ["a word for a role that there is not", uri("spiffe://demo/role/root/alice")],
    [
      "two roles",
      [...uri(callerUri("demo", "admin", "a")), ...uri(callerUri("demo", "viewer", "a"))],
    ],
  ] as [string, Subject["names"]][])(
    "refuses a certificate with %s, for every call there is",
    async (_what, names) => {
      await serve();
      const nobody = target(await issue(names, "client"));
      expect(await failure(client(nobody).listNodes({}))).toMatchObject({
        code: "PERMISSION_DENIED",
        reason: "role_missing",
      });
      const Health = makeGenericClientConstructor(healthService, "Health");
      const who = await issue(names, "client");
      const credentials = ChannelCredentials.createSsl(
        Buffer.from(root.certificate),
        Buffer.from(who.privateKey),
        Buffer.from(who.certificate),
        { checkServerIdentity: () => undefined },
      );
      const health = new Health(`127.0.0.1:${port}`, credentials, {
        "grpc.ssl_target_name_override": "address.invalid",
      });
      cleanups.push(() => health.close());
      const code = await new Promise((resolve) => {
        health.check?.({ service: "" }, (error: { code: number } | null) => resolve(error?.code));
      });
      expect(code).toBe(status.PERMISSION_DENIED);
    },
  );

  test("a taken port is an error that names it", async () => {
    const other = createNetServer().listen(0, "127.0.0.1");
    cleanups.push(() => other.close());
    await once(other, "listening");
    const taken = (other.address() as { port: number }).port;
    await expect(start({}, listenOn(taken))).rejects.toThrow(`cannot listen on 127.0.0.1:${taken}`);
  });
});

type ReflectionAnswer = {
  readonly listServicesResponse: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse: { readonly fileDescriptorProto: readonly Buffer[] };
};

describe("introspection", () => {
  const address = (): string => `unix:${join(directory, "s.sock")}`;

  test("health follows what the server says of its services", async () => {
    const server = await start({});
    const Health = makeGenericClientConstructor(healthService, "Health");
    const health = new Health(address(), ChannelCredentials.createInsecure());
    cleanups.push(() => health.close());
    const check = (service: string): Promise<string> =>
      new Promise((resolve) => {
        health.check?.(
          { service },
          (error: { code: number } | null, answer: { status: string }) => {
            resolve(error ? String(error.code) : answer.status);
          },
        );
      });
    expect(await check(NAME)).toBe("NOT_SERVING");
    server.setServing(NAME, true);
    expect(await check(NAME)).toBe("SERVING");
    expect(await check("")).toBe("NOT_SERVING");
    expect(await check("altrace.v1.Nobody")).toBe(String(status.NOT_FOUND));
  });

  test("all that the packages answer is served", () => {
    const served: Record<string, unknown> = {};
    const server = {
      addService(definition: ServiceDefinition) {
        for (const { path, requestStream, responseStream } of Object.values(definition)) {
          served[path] = { requestStream, responseStream };
        }
      },
    } as unknown as Server;
    new HealthImplementation().addToServer(server);
    new ReflectionService({}).addToServer(server);
    expect(INTROSPECTION).toEqual(served);
  });

  test("reflection describes the service and everything it imports", async () => {
    await start({});
    const proto = join(
      import.meta.dirname,
      "../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto",
    );
    const definition = loadSync(proto)["grpc.reflection.v1.ServerReflection"];
    const Reflection = makeGenericClientConstructor(definition as ServiceDefinition, "Reflection");
    const reflection = new Reflection(address(), ChannelCredentials.createInsecure());
    cleanups.push(() => reflection.close());
    const ask = async (request: object): Promise<ReflectionAnswer> => {
      const call = reflection.serverReflectionInfo?.();
      call.end(request);
      // To the end of the call: closing a client under an open one raises an error that nobody hears.
      const [answer] = await call.toArray();
      return answer as ReflectionAnswer;
    };
    const listed = await ask({ listServices: "*" });
    expect(listed.listServicesResponse.service.map((s) => s.name)).toEqual(
      expect.arrayContaining([NAME, "grpc.health.v1.Health"]),
    );
    const described = await ask({ fileContainingSymbol: `${NAME}.Kill` });
    const files = described.fileDescriptorResponse.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    expect(files.map((file) => file.name).sort()).toEqual([
      "altrace/v1/coordinator_service.proto",
      "altrace/v1/mesh.proto",
      "altrace/v1/record.proto",
    ]);
  });
});
