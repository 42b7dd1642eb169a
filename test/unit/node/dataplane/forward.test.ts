import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { createNameResolver } from "../../../../adapters/name-resolution.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { openCredentials } from "../../../../node/dataplane/credentials.ts";
import {
  createForwarder,
  type Forwarder,
  type ForwardLimits,
} from "../../../../node/dataplane/forward.ts";
import type { ResponseSink, UpstreamHandle } from "../../../../node/dataplane/upstream-leg.ts";
import { createUpstreamPools } from "../../../../node/dataplane/upstream-pools.ts";
import { mintPermit, type UpstreamRequest } from "../../../../node/decision/permit.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { comesTrue } from "../../../support/comes-true.ts";
import { type FakeProvider, startFakeProvider } from "./fake-provider.ts";

const LIMITS: ForwardLimits = {
  firstByteTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
  totalTimeoutMs: 600_000,
};
const KEY = "provider-key-0001";

const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function provider(...args: Parameters<typeof startFakeProvider>): Promise<FakeProvider> {
  const started = await startFakeProvider(...args);
  opened.push(started);
  return started;
}

function forwarder(clock = systemClock, onFault = unexpected): Forwarder {
  const resolver = createNameResolver({ clock: systemClock });
  const pools = createUpstreamPools({ resolver, clock: systemClock });
  const credentials = openCredentials({ clock, values: new Map([["main", KEY]]) });
  const made = createForwarder({ pools, credentials, clock, onFault });
  opened.push(made);
  return made;
}

function unexpected(error: unknown): void {
  expect.unreachable(String(error));
}

function request(origin: string, over: Partial<UpstreamRequest> = {}): UpstreamRequest {
  return {
    requestId: "r",
    origin,
    method: "POST",
    path: "/v1/chat/completions",
    headers: ["content-type", "application/json"],
    body: Buffer.from('{"a":1}'),
    credential: { name: "main", dialect: "openai" },
    ...over,
  };
}

/** A sink that keeps what it is told. */
class Kept implements ResponseSink {
  handle: UpstreamHandle | undefined;
  head: { readonly status: number; readonly headers: readonly string[] } | undefined;
  bytes = 0;
  text = "";
  /** Asks for a pause after each chunk. */
  pausing = false;
  readonly ended = Promise.withResolvers<string>();

  attach(handle: UpstreamHandle): void {
    this.handle = handle;
  }

  onHead(status: number, headers: readonly string[]): void {
    this.head = { status, headers };
  }

  onData(chunk: Uint8Array): boolean {
    this.bytes += chunk.length;
    if (this.text.length < 4_096) this.text += Buffer.from(chunk).toString();
    return !this.pausing;
  }

  onEnd(): void {
    this.ended.resolve("end");
  }

  onError(reason: string, sent: boolean): void {
    this.ended.resolve(`${reason} ${sent ? "sent" : "not sent"}`);
  }
}

const YES = () => true;

function send(
  made: Forwarder,
  upstream: UpstreamRequest,
  over: {
    limits?: ForwardLimits;
    lastLook?: () => boolean;
    handOver?: () => boolean;
    sink?: Kept;
  } = {},
): Kept {
  const sink = over.sink ?? new Kept();
  const permit = mintPermit(upstream, over.lastLook ?? YES, over.handOver ?? YES);
  made.forward(permit, sink, {
    limits: over.limits ?? LIMITS,
    refusedBecause: () => "killed_agent",
  });
  return sink;
}

describe("a request", () => {
  test("arrives as its permit has it, with the credential and nothing compressed", async () => {
    const { origin, received } = await provider((response) => response.end("ok"));
    const sink = send(forwarder(), request(origin));
    expect(await sink.ended.promise).toBe("end");
    expect(received).toMatchObject([
      {
        method: "POST",
        url: "/v1/chat/completions",
        body: '{"a":1}',
        headers: {
          authorization: `Bearer ${KEY}`,
          "accept-encoding": "identity",
          "content-type": "application/json",
          "content-length": "7",
        },
      },
    ]);
    expect(sink.text).toBe("ok");
  });

  test("carries the credential as its dialect does", async () => {
    const { origin, received } = await provider((response) => response.end());
    const credential = { name: "main", dialect: "anthropic" } as const;
    await send(forwarder(), request(origin, { credential })).ended.promise;
    expect(received[0]?.headers).toMatchObject({ "x-api-key": KEY });
    expect(received[0]?.headers).not.toHaveProperty("authorization");
  });

  test("is answered with the head as it was sent", async () => {
    const { origin } = await provider((response) => {
      response.writeHead(418, ["X-Twice", "a", "x-twice", "b"]);
      response.end();
    });
    const sink = send(forwarder(), request(origin));
    await sink.ended.promise;
    expect(sink.head?.status).toBe(418);
    expect(sink.head?.headers.slice(0, 4)).toEqual(["X-Twice", "a", "x-twice", "b"]);
  });

  test("is sent nowhere else when it is redirected", async () => {
    const { origin, received } = await provider((response) => {
      response.writeHead(307, { location: "/elsewhere" });
      response.end();
    });
    const sink = send(forwarder(), request(origin));
    expect(await sink.ended.promise).toBe("end");
    expect(sink.head?.status).toBe(307);
    expect(received).toHaveLength(1);
  });

  test("takes a connection that another has left, one at a time", async () => {
    const { origin, connections } = await provider((response) => response.end("ok"));
    const made = forwarder();
    for (let count = 0; count < 5; count++) {
      await send(made, request(origin)).ended.promise;
      // A connection is free a turn after its answer has ended.
      await new Promise(setImmediate);
      await new Promise(setImmediate);
    }
    expect(connections()).toBe(1);
    const held = await provider(() => {});
    const both = [send(made, request(held.origin)), send(made, request(held.origin))];
    await comesTrue(() => expect(held.received).toHaveLength(2));
    expect(held.connections()).toBe(2);
    for (const one of both) one.handle?.abort();
  });

  test("without a credential is not sent", async () => {
    const { origin, connections } = await provider((response) => response.end());
    const credential = { name: "other", dialect: "openai" } as const;
    const sink = send(forwarder(), request(origin, { credential }));
    expect(await sink.ended.promise).toBe("credential_unavailable not sent");
    expect(connections()).toBe(0);
  });
});

describe("the permit", () => {
  test("is looked at when the head is written: a kill while connecting sends nothing", async () => {
    const { origin, received, connections } = await provider((response) => response.end());
    let alive = true;
    const sink = send(forwarder(), request(origin), { lastLook: () => alive });
    alive = false;
    expect(await sink.ended.promise).toBe("killed_agent not sent");
    await comesTrue(() => expect(connections()).toBe(1));
    expect(received).toEqual([]);
  });

  test("is looked at last, on a connection that stands already too", async () => {
    const { origin, received } = await provider((response) => response.end());
    const made = forwarder();
    await send(made, request(origin)).ended.promise;
    let alive = true;
    const sink = send(made, request(origin), { lastLook: () => alive });
    alive = false;
    expect(await sink.ended.promise).toBe("killed_agent not sent");
    expect(await send(made, request(origin)).ended.promise).toBe("end");
    expect(received).toHaveLength(2);
  });

  test("has no connection opened for it where its record cannot be written", async () => {
    const { origin, received, connections } = await provider((response) => response.end());
    const made = forwarder();
    const handOver = () => false;
    const refused = send(made, request(origin), { handOver });
    expect(await refused.ended.promise).toBe("killed_agent not sent");
    expect(connections()).toBe(0);
    // On one that is there it is asked when the head would be written.
    await send(made, request(origin)).ended.promise;
    await new Promise(setImmediate);
    let asked = 0;
    const later = send(made, request(origin), {
      handOver: () => {
        asked += 1;
        return false;
      },
    });
    expect(asked).toBe(0);
    expect(await later.ended.promise).toBe("killed_agent not sent");
    expect([asked, connections(), received.length]).toEqual([1, 1, 1]);
  });

  test("is good for one request", async () => {
    const { origin, received } = await provider((response) => response.end());
    const made = forwarder();
    const permit = mintPermit(request(origin), YES, YES);
    const options = { limits: LIMITS, refusedBecause: () => "stage_failed" as const };
    const [first, second] = [new Kept(), new Kept()];
    made.forward(permit, first, options);
    made.forward(permit, second, options);
    const ends = await Promise.all([first.ended.promise, second.ended.promise]);
    expect(ends.toSorted()).toEqual(["end", "stage_failed not sent"]);
    expect(received).toHaveLength(1);
  });

  test("is not used again when the connection breaks before the answer", async () => {
    const { origin, received } = await provider((response) => response.destroy());
    const sink = send(forwarder(), request(origin));
    expect(await sink.ended.promise).toBe("upstream_failed sent");
    expect(received).toHaveLength(1);
  });
});

describe("a request that is aborted", () => {
  test("by its sink before it was begun is none", async () => {
    const { origin, connections } = await provider((response) => response.end());
    const clock = twinClock();
    const sink = new Kept();
    sink.attach = (handle) => handle.abort();
    send(forwarder(clock), request(origin), { sink });
    await new Promise(setImmediate);
    expect(clock.pendingTimers).toBe(0);
    expect(connections()).toBe(0);
  });

  test("before it was sent never is", async () => {
    const { origin, received, connections } = await provider((response) => response.end());
    const made = forwarder();
    let looked = false;
    const lastLook = () => {
      looked = true;
      return true;
    };
    const sink = send(made, request(origin), { lastLook });
    // In the turn after this one its connection is being made.
    await new Promise(setImmediate);
    sink.handle?.abort();
    await comesTrue(() => expect(connections()).toBe(1));
    expect(await send(made, request(origin)).ended.promise).toBe("end");
    expect(received).toHaveLength(1);
    expect(looked).toBe(false);
    expect(sink.handle?.sent).toBe(false);
  });

  test("in the turn in which it is begun has no connection opened", async () => {
    const { origin, received, connections } = await provider((response) => response.end());
    const made = forwarder();
    const sink = send(made, request(origin));
    sink.handle?.abort();
    expect(await send(made, request(origin)).ended.promise).toBe("end");
    expect([connections(), received.length]).toEqual([1, 1]);
  });

  test("in the middle of its answer closes the connection and tells no more", async () => {
    const { origin, sockets } = await provider((response) => response.write("part"));
    const sink = send(forwarder(), request(origin));
    await comesTrue(() => expect(sink.text).toBe("part"));
    expect(sink.handle?.sent).toBe(true);
    sink.handle?.abort();
    await comesTrue(() => expect(sockets.size).toBe(0));
    const told = await Promise.race([sink.ended.promise, Promise.resolve("nothing")]);
    expect(told).toBe("nothing");
  });
});

describe("an upstream that fails", () => {
  test("by not being there is unreachable", async () => {
    const gone = await startFakeProvider(() => {});
    await gone.close();
    const sink = send(forwarder(), request(gone.origin));
    expect(await sink.ended.promise).toBe("upstream_unreachable not sent");
  });

  test("by having no address is unreachable", async () => {
    const sink = send(forwarder(), request("http://name.invalid"));
    expect(await sink.ended.promise).toBe("upstream_unreachable not sent");
  });

  test("by closing in the middle has failed", async () => {
    const { origin } = await provider((response) => {
      response.write("part");
      setImmediate(() => response.destroy());
    });
    const sink = send(forwarder(), request(origin));
    expect(await sink.ended.promise).toBe("upstream_failed sent");
    expect(sink.text).toBe("part");
  });

  test("by sending less than it said has failed", async () => {
    const { origin } = await provider((response) => {
      response.writeHead(200, { "content-length": "10" });
      response.write("part");
      setImmediate(() => response.destroy());
    });
    expect(await send(forwarder(), request(origin)).ended.promise).toBe("upstream_failed sent");
  });

  test("by not speaking HTTP has failed", async () => {
    const server = await rawServer((socket) => socket.end("SSH-2.0-x\r\n"));
    const sink = send(forwarder(), request(server.origin));
    expect(await sink.ended.promise).toBe("upstream_failed sent");
  });
});

describe("a bug of the sink", () => {
  const SIZED = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
  test.each([
    ["in the head", "onHead", SIZED],
    ["in a piece", "onData", SIZED],
    ["in the end", "onEnd", SIZED],
    ["in an end with the connection's", "onEnd", "HTTP/1.1 200 OK\r\n\r\nok"],
  ] as const)("%s is told, and ends the answer as one of ours", async (_name, told, answer) => {
    const { origin } = await rawServer((socket) => socket.end(answer));
    const faults: unknown[] = [];
    const sink = new Kept();
    const bug = new Error("a bug");
    sink[told] = () => {
      throw bug;
    };
    send(
      forwarder(systemClock, (error) => faults.push(error)),
      request(origin),
      { sink },
    );
    expect(await sink.ended.promise).toBe("stage_failed sent");
    expect(faults).toEqual([bug]);
  });

  test.each([
    ["while the answer goes on", "onData", SIZED.replace("length: 2", "length: 3")],
    ["once the answer has ended", "onEnd", SIZED],
  ] as const)("that shows later is one as well: %s", async (_when, told, answer) => {
    const { origin } = await rawServer((socket) => socket.write(answer));
    const faults: unknown[] = [];
    const sink = new Kept();
    const bug = new Error("a bug");
    sink[told] = () => {
      setImmediate(() => sink.handle?.fault(bug));
      return true;
    };
    send(
      forwarder(systemClock, (error) => faults.push(error)),
      request(origin),
      { sink },
    );
    expect(await sink.ended.promise).toBe("stage_failed sent");
    expect(faults).toEqual([bug]);
  });

  test("in what it does with an error is told as well", async () => {
    const server = await rawServer((socket) => socket.destroy());
    const told = Promise.withResolvers<unknown>();
    const sink = new Kept();
    const bug = new Error("a bug");
    sink.onError = () => {
      throw bug;
    };
    send(forwarder(systemClock, told.resolve), request(server.origin), { sink });
    expect(await told.promise).toBe(bug);
  });
});

describe("time", () => {
  test("without an answer runs out", async () => {
    const { origin, received } = await provider(() => {});
    const clock = twinClock();
    const sink = send(forwarder(clock), request(origin));
    await comesTrue(() => expect(received).toHaveLength(1));
    clock.advance(LIMITS.firstByteTimeoutMs - 1);
    expect(clock.pendingTimers).toBeGreaterThan(0);
    clock.advance(1);
    expect(await sink.ended.promise).toBe("upstream_timeout sent");
  });

  test("without a byte runs out, counted from the last one", async () => {
    let more: ((chunk: string) => void) | undefined;
    const { origin } = await provider((response) => {
      more = (chunk) => response.write(chunk);
      more("a");
    });
    const clock = twinClock();
    const sink = send(forwarder(clock), request(origin));
    await comesTrue(() => expect(sink.text).toBe("a"));
    clock.advance(LIMITS.idleTimeoutMs - 1_000);
    more?.("b");
    await comesTrue(() => expect(sink.text).toBe("ab"));
    clock.advance(LIMITS.idleTimeoutMs - 1_000);
    const told = await Promise.race([sink.ended.promise, Promise.resolve("nothing")]);
    expect(told).toBe("nothing");
    clock.advance(1_000);
    expect(await sink.ended.promise).toBe("upstream_timeout sent");
  });

  test("in which it is we who do not read is not the provider's", async () => {
    const { origin } = await provider((response) => response.write("a"));
    const clock = twinClock();
    const sink = new Kept();
    sink.pausing = true;
    send(forwarder(clock), request(origin), { sink });
    await comesTrue(() => expect(sink.text).toBe("a"));
    clock.advance(3 * LIMITS.idleTimeoutMs);
    const told = await Promise.race([sink.ended.promise, Promise.resolve("nothing")]);
    expect(told).toBe("nothing");
    clock.advance(LIMITS.totalTimeoutMs);
    expect(await sink.ended.promise).toBe("upstream_timeout sent");
  });

  test("leaves no timer of its own behind, and in the end none at all", async () => {
    const { origin } = await provider((response) => response.end("x"));
    const clock = twinClock();
    const made = forwarder(clock);
    for (let no = 0; no < 3; no++) {
      await send(made, request(origin)).ended.promise;
      clock.advance(1);
    }
    expect(clock.pendingTimers).toBe(1);
    // When the first would have fallen due nobody else waits any more.
    clock.advance(LIMITS.firstByteTimeoutMs - 3);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("a pause", () => {
  test("stops the provider, and going on brings every byte", async () => {
    const chunk = Buffer.alloc(64 * 1024, "x");
    const count = 1_024;
    let written = 0;
    const { origin } = await provider((response) => {
      const more = (): void => {
        while (written < count) {
          written += 1;
          if (!response.write(chunk)) {
            response.once("drain", more);
            return;
          }
        }
        response.end();
      };
      more();
    });
    const sink = new Kept();
    sink.pausing = true;
    send(forwarder(), request(origin), { sink });
    await comesTrue(() => expect(sink.bytes).toBeGreaterThan(0));
    await standsStill(() => written);
    expect(written).toBeLessThan(count / 2);
    expect(sink.bytes).toBeLessThan(2 * 1024 * 1024);
    sink.pausing = false;
    sink.handle?.resume();
    expect(await sink.ended.promise).toBe("end");
    expect(sink.bytes).toBe(count * chunk.length);
  });
});

async function standsStill(read: () => number): Promise<void> {
  let last = -1;
  await comesTrue(() => {
    const now = read();
    const still = now === last;
    last = now;
    expect(still).toBe(true);
  }, 100);
}

async function rawServer(
  onSocket: (socket: import("node:net").Socket) => void,
): Promise<{ origin: string }> {
  const server: Server = createServer((socket) => {
    socket.on("error", () => {});
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  opened.push({ close: () => server.close() });
  const address = server.address() as { port: number };
  return { origin: `http://127.0.0.1:${address.port}` };
}
