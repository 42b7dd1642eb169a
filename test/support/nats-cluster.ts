import type { NatsBus } from "../../adapters/nats-bus.ts";
import { ensureStreams, StreamConfigFault } from "../../adapters/nats-streams.ts";
import { freePort } from "../../bench/harness/free-ports.ts";
import { type NatsServer, startNats } from "./start-nats.ts";
import { waitUntil } from "./wait-until.ts";

const SERVERS = 3;

/** Three real nats-servers that hold every stream together. */
export type NatsCluster = AsyncDisposable & {
  /** All three, separated by commas. */
  readonly url: string;
  readonly servers: readonly NatsServer[];
  /** Ends all three without a word to them; what they stored stays. */
  kill(): Promise<void>;
  /** Starts all three again. */
  restart(): Promise<void>;
  /** The server that leads a stream now; `undefined` while there is none. */
  leaderOf(bus: NatsBus, stream: string): Promise<NatsServer | undefined>;
};

/**
 * Starts three servers on 127.0.0.1 that know one another. Their clients are told of none but those that they
 * know: one that knows a single server stays with it, whatever becomes of it.
 *
 * @param options.program Path of their program; default: the one from PATH.
 */
export async function startNatsCluster(
  options: { readonly program?: string } = {},
): Promise<NatsCluster> {
  const routes = await Promise.all(Array.from({ length: SERVERS }, freePort));
  const peers = routes.map((port) => `"nats-route://127.0.0.1:${port}"`).join(", ");
  const servers = await Promise.all(
    routes.map((port, i) =>
      startNats({
        ...options,
        started: false,
        config: [
          `server_name: ${nameOf(i)}`,
          `cluster { name: alt, listen: "127.0.0.1:${port}", no_advertise: true, routes: [${peers}] }`,
        ].join("\n"),
      }),
    ),
  );
  const stop = async () => {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  };
  const restart = async () => {
    await Promise.all(servers.map((server) => server.restart()));
  };
  try {
    await restart();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: servers.map(({ url }) => url).join(","),
    servers,
    kill: async () => {
      await Promise.all(servers.map((server) => server.kill()));
    },
    restart,
    leaderOf: async (bus, stream) => {
      const { cluster } = await bus.manager().streams.info(stream);
      return servers.find((_, i) => nameOf(i) === cluster?.leader);
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** Makes the mesh's streams on all three, as soon as the servers have elected who makes streams. */
export async function ensureReplicatedStreams(bus: NatsBus): Promise<void> {
  await waitUntil("three servers to hold the streams", async () => {
    try {
      await ensureStreams(bus, { replicas: SERVERS });
      return true;
    } catch (error) {
      if (error instanceof StreamConfigFault) throw error;
      return false;
    }
  });
}

function nameOf(i: number): string {
  return `n${i + 1}`;
}
