import { flushCompileCache } from "node:module";
import { pino } from "pino";
import { cryptoRandom } from "../adapters/crypto-random.ts";
import { verifyEd25519 } from "../adapters/ed25519.ts";
import { endWith } from "../adapters/end-now.ts";
import { fileKeys, passingSigner } from "../adapters/file-keys.ts";
import { createGrpcClient } from "../adapters/grpc-client.ts";
import { ownFolder } from "../adapters/grpc-socket.ts";
import { createBusHub } from "../adapters/in-process-bus.ts";
import { openInspectionRoot } from "../adapters/inspection-root.ts";
import { holdInstance } from "../adapters/instance-lock.ts";
import { openLmdbStore } from "../adapters/lmdb-store.ts";
import { connectNatsBus, type NatsBus } from "../adapters/nats-bus.ts";
import { COORDINATOR_RECONNECT_WAIT_MS } from "../adapters/nats-connection.ts";
import { inboxPrefix } from "../adapters/nats-permissions.ts";
import { ensureStreams, type ServersBehind, StreamsSilent } from "../adapters/nats-streams.ts";
import { natsUser } from "../adapters/nats-user.ts";
import { registerProcessMetrics } from "../adapters/process-metrics.ts";
import { untilSignal } from "../adapters/process-signals.ts";
import { readFlags, unknownSettings } from "../adapters/settings.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { fileWatch } from "../adapters/watched-file.ts";
import { errorWithCauses } from "../ports/error-message.ts";
import { keepRehearsed } from "../ports/keep-rehearsed.ts";
import { pause } from "../ports/pause.ts";
import { CoordinatorService } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { buildCoordinator, type Coordinator } from "./app.ts";
import { archiveOf } from "./archive/archive-link.ts";
import { COORDINATOR_SETTINGS, type CoordinatorConfig, readCoordinatorConfig } from "./config.ts";
import { eventLog } from "./event-log.ts";
import { foundMesh, keysPath, socketPath, storePath, writeIdentity } from "./found-mesh.ts";
import { rehearseCalls } from "./rehearse-calls.ts";
import { rehearseCommands } from "./rehearse-commands.ts";

// The coordinator's process: `node coordinator/main.ts --home DIR --nats-url nats://...`.
// Exit codes: 0 stopped as asked, 1 could not start or had to end, 2 wrong settings.

const STREAM_RETRY_MS = 1_000;
/** A server that lost its store has no streams, and says so to nobody who does not ask. */
const STREAM_CHECK_MS = 5_000;

void run().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`altrace coordinator: ${errorWithCauses(error)}\n`);
    // It may be in the middle of a write.
    endWith(1);
  },
);

async function run(): Promise<number> {
  const read = readConfig(process.argv.slice(2));
  if ("errors" in read) {
    for (const error of read.errors) process.stderr.write(`altrace coordinator: ${error}\n`);
    return 2;
  }
  return await serve(read.config, read.natsUrl);
}

function readConfig(
  argv: readonly string[],
):
  | { readonly config: CoordinatorConfig; readonly natsUrl: string }
  | { readonly errors: readonly string[] } {
  const unknown = unknownSettings(process.env, [COORDINATOR_SETTINGS]);
  const flags = readFlags(COORDINATOR_SETTINGS, argv);
  const given = "errors" in flags ? {} : flags.values;
  const home = `${process.env.HOME ?? process.cwd()}/.altrace`;
  const read = readCoordinatorConfig(process.env, given, { home });
  const errors = [
    ...unknown,
    ...("errors" in flags ? flags.errors : []),
    ...("errors" in read ? read.errors : []),
  ];
  const natsUrl = "config" in read ? read.config.natsUrl : undefined;
  // Without NATS no other process can reach this one: that is what `altrace up` is for.
  if ("config" in read && natsUrl === undefined) {
    errors.push("ALTRACE_NATS_URL: needed by a coordinator alone");
  }
  if (!("config" in read) || natsUrl === undefined || errors.length > 0) return { errors };
  return { config: read.config, natsUrl };
}

async function serve(config: CoordinatorConfig, natsUrl: string): Promise<number> {
  flushCompileCache();
  const log = pino({ level: config.logLevel });
  const stopping = new AbortController();
  void untilSignal("SIGTERM", "SIGINT").then(() => stopping.abort());
  const { home } = config;
  ownFolder(home);
  const lock = await holdInstance({
    home,
    socketPaths: [socketPath(home)],
    ports: [
      { host: config.metricsHost, port: config.metricsPort },
      ...(config.grpcTls ? [{ host: config.grpcTls.host, port: config.grpcTls.port }] : []),
      ...(config.witness ? [{ host: config.witness.host, port: config.witness.port }] : []),
    ],
  });
  // Only whoever holds HOME may found a mesh in it: of two at once, one would overwrite the other's.
  const { pin, operator } = foundMesh({
    home,
    mesh: config.mesh,
    trustFile: config.trustFile,
    operatorKeys: fileKeys(home),
    random: cryptoRandom,
  });
  const keys = fileKeys(keysPath(home));
  writeIdentity(home, config.replicaId, keys);
  const store = openLmdbStore(storePath(home));
  const bus = await connectNatsBus({
    url: natsUrl,
    name: config.replicaId,
    inboxPrefix: inboxPrefix({ role: "coordinator", name: config.replicaId }),
    nkeySeed: natsUser(keysPath(home)).seed,
    reconnectWaitMs: COORDINATOR_RECONNECT_WAIT_MS,
    ...(config.natsTls && { tls: config.natsTls }),
    onTrouble: (message) => log.warn({ message }, "bus_trouble"),
  });
  const streams = new KeptStreams(bus, config);
  const coordinator = await buildCoordinator(config, pin, {
    clock: systemClock,
    random: cryptoRandom,
    bus,
    serversBehind: () => streams.behind,
    streamsSilent: () => streams.silent,
    store,
    keys,
    operator,
    log: eventLog(log, systemClock),
    openArchive: archiveOf(config, fileWatch(systemClock)),
    certifier: await openInspectionRoot({ home, mesh: pin.mesh, nowMs: systemClock.nowMs() }),
  });
  registerProcessMetrics(coordinator.metrics.registry);
  void streams.keep(stopping.signal, (message) => log.warn({ message }, "bus_trouble"));
  await rehearse();
  await coordinator.start();
  const onFault = (error: unknown) => log.warn({ error: String(error) }, "rehearsal_failed");
  const rehearsed = stayRehearsed(home, { signal: stopping.signal, onFault });
  const code = await ended(coordinator, stopping.signal);
  stopping.abort();
  await rehearsed;
  await coordinator.stop();
  await bus.close();
  await store.close();
  await lock.release();
  return code;
}

/** The exit code, once it is asked to stop or has to. */
function ended({ fenced }: Coordinator, signal: AbortSignal): Promise<number> {
  return Promise.race([aborted(signal).then(() => 0), fenced.then(() => 1)]);
}

/** Kills of nobody, with a key of nobody's, on a bus that nobody else is on. */
async function rehearse(count?: number): Promise<void> {
  const hub = createBusHub(undefined);
  const ports = { clock: systemClock, random: cryptoRandom, verify: verifyEd25519 };
  await rehearseCommands({ ...ports, bus: hub.connect() }, passingSigner(), count);
  await hub.close();
}

/** More of them, and calls as an operator makes them, a few at a time. */
async function stayRehearsed(
  home: string,
  until: Omit<Parameters<typeof keepRehearsed>[0], "clock">,
): Promise<void> {
  const path = socketPath(home);
  const client = createGrpcClient(CoordinatorService, { kind: "unix", path });
  await keepRehearsed({ clock: systemClock, ...until }, async (count) => {
    await rehearse(count);
    await rehearseCalls(client.calls, count);
  });
  client.close();
}

/**
 * The streams are made as soon as the server can be reached, and again if it loses them: without
 * them nothing is committed, and every node closes.
 */
class KeptStreams {
  readonly #bus: NatsBus;
  readonly #replicas: 1 | 3;
  #behind: ServersBehind = new Map();
  #silent: ReadonlyMap<string, string> = new Map();

  constructor(bus: NatsBus, { natsReplicas }: Pick<CoordinatorConfig, "natsReplicas">) {
    this.#bus = bus;
    this.#replicas = natsReplicas;
  }

  /** As the streams' leaders said last; nothing while they do not answer. */
  get behind(): ServersBehind {
    return this.#behind;
  }

  /** Why nobody spoke for a stream when it was last asked for, by stream. */
  get silent(): ReadonlyMap<string, string> {
    return this.#silent;
  }

  async keep(signal: AbortSignal, warn: (message: string) => void): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#behind = await ensureStreams(this.#bus, { replicas: this.#replicas });
        this.#silent = new Map();
        await pause(systemClock, STREAM_CHECK_MS, signal);
      } catch (error) {
        const isSilent = error instanceof StreamsSilent;
        this.#behind = isSilent ? error.behind : new Map();
        this.#silent = isSilent ? error.silent : new Map();
        warn(errorWithCauses(error));
        await pause(systemClock, STREAM_RETRY_MS, signal);
      }
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
