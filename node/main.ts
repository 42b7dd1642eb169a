// The node's process: `altrace node --home DIR --trust FILE --enrol TOKEN --nats-url nats://...`.
// Exit codes: 0 stopped as asked, 1 could not start or lost a thread or its log, 2 wrong settings.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { cryptoRandom } from "../adapters/crypto-random.ts";
import { endWith } from "../adapters/end-now.ts";
import { ownFolder } from "../adapters/grpc-socket.ts";
import { holdInstance } from "../adapters/instance-lock.ts";
import { untilSignal } from "../adapters/process-signals.ts";
import { readFlags, unknownSettings } from "../adapters/settings.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { readTrustFile } from "../adapters/trust-file.ts";
import { freeForNext, turnAtLauncher } from "../adapters/turn-at-launcher.ts";
import { errorWithCauses } from "../ports/error-message.ts";
import {
  FORWARD_PORT_OFFSET,
  METRICS_PORT_OFFSET,
  NODE_SETTINGS,
  type NodeConfig,
  readNodeConfig,
} from "./config.ts";
import { credentialsFromEnv } from "./credentials-from-env.ts";
import { type NodeLog, nodeLog } from "./node-log.ts";
import { prepareThreads, type Rehearsal } from "./prepared-threads.ts";
import { checkThreadPool } from "./thread-pool.ts";

const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { version: string };

/** Threads that were only prepared are ended by this; once there are stores, none may be within a write (`endWith`). */
let end: (code: number) => never = (code) => process.exit(code);

const code = await run().catch((error: unknown) => {
  process.stderr.write(`altrace node: ${errorWithCauses(error)}\n`);
  // Whatever was started by then ends with the process, in the middle of what it writes: half a node must not go on.
  endWith(1);
});
end(code);

async function run(): Promise<number> {
  const read = readConfig(process.argv.slice(2));
  if ("errors" in read) {
    for (const error of read.errors) process.stderr.write(`altrace node: ${error}\n`);
    return 2;
  }
  return await serve(read.config);
}

function readConfig(
  argv: readonly string[],
): { readonly config: NodeConfig } | { readonly errors: readonly string[] } {
  const flags = readFlags(NODE_SETTINGS, argv);
  const given = "errors" in flags ? {} : flags.values;
  const home = process.env.ALTRACE_HOME ?? join(homedir(), ".altrace");
  const defaults = { home, trustFile: join(given.home ?? home, "trust.json") };
  const read = readNodeConfig(process.env, given, defaults);
  const errors = [
    ...unknownSettings(process.env, [NODE_SETTINGS]),
    ...("errors" in flags ? flags.errors : []),
    ...("errors" in read ? read.errors : []),
  ];
  if ("config" in read && read.config.natsUrl === undefined) {
    errors.push("ALTRACE_NATS_URL: needed by a node alone; `altrace up` is one without NATS");
  }
  return "config" in read && errors.length === 0 ? read : { errors };
}

/** The token, where it is still there: it is used once, and whoever gave it may take it away again. */
function tokenIn(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    const token = readFileSync(file, "utf8").trim();
    return token === "" ? undefined : token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** For one that takes another one's place. HOME is not its own yet: what lies there is read, and nothing of it believed. */
async function rehearsed({ home, nodeId, natsUrl, natsTls }: NodeConfig) {
  const { rehearsalBundle } = await import("./rehearsal-bundle.ts");
  const { rehearsePolicy } = await import("./rehearse-policy.ts");
  const { lastBundle } = await import("./last-bundle.ts");
  const homeDir = join(home, "node");
  const last = lastBundle(homeDir);
  const policy = last && (await rehearsePolicy(last));
  const bundle = policy?.bundle ?? rehearsalBundle();
  if (policy === undefined) await rehearsePolicy(bundle);
  const bus = { kind: "nats", url: natsUrl as string, tls: natsTls } as const;
  const rehearsal: Rehearsal = { bundle, mesh: { nodeId, homeDir, bus } };
  return { policy, rehearsal };
}

/** Written when it returns: what the other logger has handed to a thread of libuv's pool ends with the process. */
function lastWords({ logLevel: level }: NodeConfig): NodeLog {
  return nodeLog(pino({ level }, pino.destination({ dest: 1, sync: true })));
}

async function serve(config: NodeConfig): Promise<number> {
  checkThreadPool(process.env.UV_THREADPOOL_SIZE);
  const logger = pino({ level: config.logLevel });
  const log = nodeLog(logger);
  const stopped = untilSignal("SIGTERM", "SIGINT");
  const replaced = untilSignal("SIGHUP");
  const { mesh } = readTrustFile(config.trustFile);
  const { servingFile } = config;
  if (servingFile !== undefined) rmSync(servingFile, { force: true });
  // Loaded once the settings are good: who has mistyped one is told at once.
  const { turnFd } = config;
  const tried = turnFd === undefined ? undefined : await rehearsed(config);
  const threads = prepareThreads(config.loops, tried?.rehearsal);
  const { startNode } = await import("./app.ts");
  flushCompileCache();
  if (turnFd !== undefined) {
    const turn = threads.loaded.then(() => turnAtLauncher(turnFd));
    // Both may be told to end while the one before still serves: nobody's turn comes then.
    if ((await Promise.race([turn, stopped])) !== undefined) return 0;
  }
  ownFolder(config.home);
  const lock = await holdInstance({
    home: config.home,
    socketPaths: [join(config.home, "node.sock")],
    ports: [
      { host: config.host, port: config.portBase },
      { host: config.host, port: config.portBase + FORWARD_PORT_OFFSET },
      { host: config.metricsHost, port: config.portBase + METRICS_PORT_OFFSET },
      ...(config.grpcTls ? [{ host: config.grpcTls.host, port: config.grpcTls.port }] : []),
    ],
  });
  end = endWith;
  const node = await startNode({
    config: { ...config, enrolToken: config.enrolToken ?? tokenIn(config.enrolFile) },
    mesh,
    version,
    clock: systemClock,
    random: cryptoRandom,
    log,
    busPort: undefined,
    threads,
    rehearsed: tried?.policy,
    credentials: credentialsFromEnv(process.env),
    onLost: (what, error) => {
      lastWords(config).fault(what, error);
      endWith(1);
    },
  });
  const { gateway, grpcSocket, metrics } = node.addresses;
  log.started({ node: config.nodeId, mesh, gateway, grpc: grpcSocket, metrics });
  if (servingFile !== undefined) writeFileSync(servingFile, "");
  const outlived = replaced.then(() => {
    log.replaced();
    return node.outlive();
  });
  const unfit = await Promise.race([stopped, outlived, node.unfit]);
  if (unfit instanceof Error) log.fault("capture", unfit);
  else log.stopped(await Promise.race([stopped, replaced]));
  await node.stop();
  await lock.release();
  freeForNext(config.freeFd);
  return unfit instanceof Error ? 1 : 0;
}
