import { mkdirSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { pino } from "pino";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { ownFolder } from "../../adapters/grpc-socket.ts";
import { createBusHub } from "../../adapters/in-process-bus.ts";
import { openInspectionRoot } from "../../adapters/inspection-root.ts";
import { checkSocketPath, holdInstance, type InstanceInput } from "../../adapters/instance-lock.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { unknownSettings } from "../../adapters/settings.ts";
import { createKeyPair } from "../../adapters/signing-keys.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { freeForNext, turnAtLauncher } from "../../adapters/turn-at-launcher.ts";
import { fileWatch } from "../../adapters/watched-file.ts";
import { buildCoordinator, type Coordinator } from "../../coordinator/app.ts";
import { archiveOf, prepareArchive } from "../../coordinator/archive/archive-link.ts";
import {
  COORDINATOR_SETTINGS,
  type CoordinatorConfig,
  readCoordinatorConfig,
} from "../../coordinator/config.ts";
import { eventLog } from "../../coordinator/event-log.ts";
import {
  foundMesh,
  keysPath,
  socketPath,
  storePath,
  trustPath,
} from "../../coordinator/found-mesh.ts";
import { type RunningNode, startNode } from "../../node/app.ts";
import {
  FORWARD_PORT_OFFSET,
  METRICS_PORT_OFFSET,
  NODE_SETTINGS,
  type NodeConfig,
  readNodeConfig,
} from "../../node/config.ts";
import { credentialsFromEnv } from "../../node/credentials-from-env.ts";
import { nodeLog } from "../../node/node-log.ts";
import { prepareThreads } from "../../node/prepared-threads.ts";
import { type RehearsedPolicy, rehearsePolicy } from "../../node/rehearse-policy.ts";
import { checkThreadPool } from "../../node/thread-pool.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { CommandError, homeOf } from "../command-context.ts";
import { type DemoPolicy, readDemoPolicy } from "../demo/demo-policy.ts";
import { type Demo, startDemo } from "../demo/start-demo.ts";
import { createOutput, type Output } from "../output.ts";
import type { CliProcess } from "../program.ts";
import { announce } from "./announce.ts";

export type UpOptions = {
  readonly home?: string;
  readonly json?: boolean;
  readonly portBase?: string;
  readonly policy?: string;
};

type Configs = { readonly node: NodeConfig; readonly coordinator: CoordinatorConfig };

/** Coordinator and one node in this process, on the in-process bus, until a signal. */
export async function up(options: UpOptions, host: CliProcess): Promise<void> {
  const home = homeOf(options, host.env);
  const configs = readConfigs(options, home, host.env);
  checkThreadPool(host.env.UV_THREADPOOL_SIZE);
  const policy = readDemoPolicy({
    file: options.policy,
    portBase: configs.node.portBase,
    env: host.env,
  });
  const output = createOutput(host.streams, options.json === true);
  await untilEnd(configs, policy, host, output);
  freeForNext(configs.node.freeFd);
}

/** Resolves once all that was started is stopped; rejects where any of it could not be. */
async function untilEnd(
  configs: Configs,
  policy: DemoPolicy,
  host: CliProcess,
  output: Output,
): Promise<void> {
  const replaced = host.untilHangUp;
  // Whatever was started when a later part cannot start, or a signal comes, is stopped again.
  await using started = new AsyncDisposableStack();
  const starting = start(configs, policy, host, started);
  const running = await Promise.race([starting, host.untilSignal.then(() => undefined)]);
  if (running === undefined) throw new CommandError("stopped before it was up");
  announce(running, configs.node.home, output);
  const outlived = replaced?.then(() => {
    output.error("another process waits, or the terminal is gone: what is open gets its time");
    return running.node.outlive();
  });
  const unfit = await Promise.race([host.untilSignal, outlived ?? NEVER, running.node.unfit]);
  if (unfit instanceof Error) throw new CommandError(unfit.message);
  output.line("stopping: running requests get their time");
}

function socketPathObjection(path: string): string | undefined {
  try {
    checkSocketPath(path);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

/** What runs, as far as the announcement speaks of it. */
export type Running = {
  readonly coordinator: Coordinator;
  readonly demo: Demo;
  readonly node: RunningNode;
};

function readConfigs(
  options: UpOptions,
  home: string,
  env: Readonly<Record<string, string | undefined>>,
): Configs {
  const flags = { "port-base": options.portBase };
  const node = readNodeConfig(env, flags, { home, trustFile: trustPath(home) });
  const coordinator = readCoordinatorConfig(env, flags, { home });
  const errors = new Set([
    ...unknownSettings(env, [NODE_SETTINGS, COORDINATOR_SETTINGS]),
    ...("errors" in node ? node.errors : []),
    ...("errors" in coordinator ? coordinator.errors : []),
  ]);
  if ("config" in coordinator && coordinator.config.natsUrl !== undefined) {
    errors.add(
      "ALTRACE_NATS_URL: altrace up has its bus inside; a mesh over NATS is `altrace coordinator` and `altrace node`",
    );
  }
  for (const path of [socketPath(home), join(home, "node.sock")]) {
    const tooLong = socketPathObjection(path);
    if (tooLong !== undefined) errors.add(tooLong);
  }
  if ("config" in node && "config" in coordinator && errors.size === 0) {
    return { node: { ...node.config, home }, coordinator: { ...coordinator.config, home } };
  }
  throw new CommandError([...errors].join("\naltrace: "), 2);
}

async function start(
  configs: Configs,
  policy: DemoPolicy,
  host: CliProcess,
  started: AsyncDisposableStack,
): Promise<Running> {
  const { home } = configs.node;
  const { turnFd, loops } = configs.node;
  const isNext = turnFd !== undefined;
  const threads = started.use(prepareThreads(loops, isNext ? policy : undefined));
  const archive = started.use(prepareArchive());
  flushCompileCache();
  let rehearsed: RehearsedPolicy | undefined;
  if (isNext) {
    rehearsed = await rehearsedBeside(policy, threads.loaded, archive.loaded);
    await turnAtLauncher(turnFd);
  }
  ownFolder(home);
  const logger = pino({ level: host.env.ALTRACE_LOG_LEVEL ?? "warn" }, pino.destination(2));
  const lock = await holdInstance(lockOf(configs));
  started.defer(() => lock.release());
  // Only whoever holds HOME may found a mesh in it: of two at once, one would overwrite the other's.
  const { pin, operator } = foundMesh({
    home,
    mesh: configs.coordinator.mesh,
    operatorKeys: fileKeys(home),
    random: cryptoRandom,
  });
  mkdirSync(storePath(home), { recursive: true, mode: 0o700 });
  host.onStores?.();
  const store = openLmdbStore(storePath(home));
  started.defer(() => store.close());
  const hub = createBusHub(store);
  started.defer(() => hub.close());
  const coordinator = await buildCoordinator(configs.coordinator, pin, {
    clock: systemClock,
    random: cryptoRandom,
    bus: hub.connect(),
    store,
    keys: fileKeys(keysPath(home)),
    operator,
    log: eventLog(logger, systemClock),
    openArchive: archiveOf(configs.coordinator, fileWatch(systemClock), archive),
    certifier: await openInspectionRoot({ home, mesh: pin.mesh, nowMs: systemClock.nowMs() }),
  });
  started.defer(() => coordinator.stop());
  await coordinator.start();
  await coordinator.whenReady(AbortSignal.timeout(READY_TIMEOUT_MS));
  const demo = await startDemo({ home, policy, host });
  started.defer(() => demo.stop());
  const channel = new MessageChannel();
  hub.attach(channel.port1);
  const node = await startNode({
    config: { ...configs.node, enrolToken: demo.enrolToken },
    mesh: pin.mesh,
    version: host.version,
    clock: systemClock,
    random: cryptoRandom,
    log: nodeLog(logger),
    busPort: channel.port2,
    threads,
    rehearsed,
    credentials: new Map([...demo.credentials, ...credentialsFromEnv(host.env)]),
    onLost: (what, error) => host.abort(`${what}: ${errorMessage(error)}`),
  });
  started.defer(() => node.stop());
  await node.whenReady(READY_TIMEOUT_MS);
  demo.noteDoors(node.addresses);
  return { coordinator, demo, node };
}

/** What takes long and needs nothing of HOME, while another process serves. */
async function rehearsedBeside({ bundle }: DemoPolicy, ...loaded: readonly Promise<unknown>[]) {
  await Promise.all([rehearseCertificate(), ...loaded]);
  return await rehearsePolicy(bundle);
}

/** What signs for the node is loaded, and run first, at its first policy, on which requests wait. Here it signs for nobody. */
async function rehearseCertificate(): Promise<void> {
  const { certifyNode, createRoot } = await import("../../adapters/x509-authority.ts");
  const nowMs = systemClock.nowMs();
  const [root, { publicKey }] = await Promise.all([
    createRoot({ name: "rehearsal", nowMs, validMs: REHEARSED_MS }),
    createKeyPair(),
  ]);
  const notAfterMs = nowMs + REHEARSED_MS;
  const hosts = ["rehearsal.invalid"];
  await certifyNode({ root, publicKey, name: "rehearsal", hosts, nowMs, notAfterMs });
}

function lockOf({ node, coordinator }: Configs): InstanceInput {
  const { home, host, portBase } = node;
  return {
    home,
    socketPaths: [socketPath(home), join(home, "node.sock")],
    ports: [
      { host, port: portBase },
      { host, port: portBase + FORWARD_PORT_OFFSET },
      { host: node.metricsHost, port: portBase + METRICS_PORT_OFFSET },
      { host: coordinator.metricsHost, port: coordinator.metricsPort },
      ...[node, coordinator].flatMap(({ grpcTls }) => grpcTls ?? []),
    ],
  };
}

const READY_TIMEOUT_MS = 30_000;
const REHEARSED_MS = 3_600_000;
const NEVER = new Promise<never>(() => {});
