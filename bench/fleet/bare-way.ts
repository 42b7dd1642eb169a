import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { connect } from "@nats-io/transport-node";
import { callMethod } from "../../adapters/grpc-call.ts";
import { GrpcConnection } from "../../adapters/grpc-connection.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { Times } from "../harness/histogram.ts";
import type { Fleet } from "./fleet.ts";
import { KILL_BYTES, WAY_ANSWER, WAY_SUBJECT } from "./fleet-messages.ts";

const PATH = "/bench.Way/Say";
/** As large as an operator's order to kill is. */
const ORDER = Buffer.alloc(70);

/**
 * The way of a kill with nothing done on it: one call over a unix socket, one message over NATS, and the callback in the
 * node's process. What a kill takes beyond that is ours; this is the machine's, and the packages'.
 */
export async function openBareWay(url: string, fleet: Fleet) {
  await using stack = new AsyncDisposableStack();
  const home = mkdtempSync(join(tmpdir(), "altw-"));
  stack.defer(() => rmSync(home, { recursive: true, force: true }));
  const nats = await connect({ servers: url.split(",") });
  stack.defer(() => nats.close());
  const path = join(home, "way.sock");
  const server = await serveCall(path, () => nats.publish(WAY_SUBJECT, new Uint8Array(KILL_BYTES)));
  stack.defer(() => server.forceShutdown());
  const connection = new GrpcConnection({ kind: "unix", path });
  stack.defer(() => connection.close());
  let heard: (atNs: number) => void = () => undefined;
  nats.subscribe(WAY_ANSWER, {
    callback: (_error, { data }) => heard(Number(Buffer.from(data).readBigInt64BE())),
  });
  await nats.flush();
  await fleet.ask({ t: "way_connect" });
  stack.defer(async () => void (await fleet.ask({ t: "disconnect" })));
  const times = new Times();
  const open = stack.move();
  return {
    /** From the call to the callback. */
    get times(): Times {
      return times;
    },
    go: async (isCounted: boolean): Promise<void> => {
      const at = new Promise<number>((resolve) => {
        heard = resolve;
      });
      const calledNs = Number(systemClock.monoNs());
      for await (const _ of callMethod(connection, PATH, ORDER, {}));
      const heardNs = await at;
      if (isCounted) times.add(heardNs - calledNs);
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function serveCall(path: string, said: () => void): Promise<Server> {
  const server = new Server();
  const same = (bytes: Buffer): Buffer => bytes;
  const method = {
    path: PATH,
    requestStream: false as const,
    responseStream: false as const,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  server.addService(
    { Say: method },
    {
      Say: (_call: unknown, answer: (error: null, bytes: Buffer) => void) => {
        said();
        // As a kill is answered: in a later turn than it is said.
        setImmediate(() => answer(null, ORDER));
      },
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
  return server;
}
