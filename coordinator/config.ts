import { join } from "node:path";
import {
  GRPC_TLS_SETTINGS,
  type GrpcTlsConfig,
  readGrpcTls,
} from "../adapters/grpc-tls-settings.ts";
import { NATS_TLS_SETTINGS, type NatsTls, readNatsTls } from "../adapters/nats-tls-settings.ts";
import { type LogLevel, SERVER_SETTINGS } from "../adapters/server-settings.ts";
import {
  address,
  integer,
  oneOf,
  path,
  readSettings,
  type SettingTable,
  text,
} from "../adapters/settings.ts";
import { LEASE_LIMITS, type LedgerSettings } from "./ledger-settings.ts";

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const NAME_EXPECTED = "a name: lower-case letters, digits and inner hyphens, at most 63";
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * 60 * 1_000;
const BYTES_PER_MIB = 1024 * 1024;

/** Every setting of a coordinator: its name, default, unit and bounds. */
export const COORDINATOR_SETTINGS = {
  home: { env: "ALTRACE_HOME", byDefault: undefined, read: path, help: "folder of all state" },
  replicaId: {
    env: "ALTRACE_REPLICA_ID",
    byDefault: "c1",
    read: text(NAME, NAME_EXPECTED),
    help: "this coordinator's name among the replicas",
  },
  mesh: {
    env: "ALTRACE_MESH",
    byDefault: undefined,
    read: text(NAME, NAME_EXPECTED),
    help: "name of the mesh, given once when it is founded; drawn at random without it",
  },
  trustFile: {
    env: "ALTRACE_TRUST",
    byDefault: undefined,
    read: path,
    help: "trust.json of a mesh that a further coordinator joins; without it HOME's own, or a new mesh",
  },
  natsUrl: {
    env: "ALTRACE_NATS_URL",
    byDefault: undefined,
    read: text(/^(nats|tls):\/\/[^\s]+$/, "nats://host:port or tls://host:port"),
    help: "NATS server of the mesh",
  },
  ...NATS_TLS_SETTINGS,
  natsReplicas: {
    env: "ALTRACE_NATS_REPLICAS",
    byDefault: "1",
    read: oneOf("1", "3"),
    help: "servers that hold each stream",
  },
  portBase: {
    env: "ALTRACE_PORT_BASE",
    byDefault: "4000",
    read: integer({ min: 1024, max: 65_435 }),
    help: "gRPC over TLS is on base + 92, metrics on base + 93",
  },
  ...SERVER_SETTINGS,
  ...GRPC_TLS_SETTINGS,
  witnessPort: {
    env: "ALTRACE_WITNESS_PORT",
    byDefault: undefined,
    read: integer({ min: 1, max: 65_535 }),
    help: "port on which logs may ask for cosignatures over HTTP; without it nodes alone may, over the mesh",
  },
  witnessHost: {
    env: "ALTRACE_WITNESS_HOST",
    byDefault: "127.0.0.1",
    read: address,
    help: "address of that port",
  },
  witnessLogsFile: {
    env: "ALTRACE_WITNESS_LOGS",
    byDefault: undefined,
    read: path,
    help: "policy file (c2sp.org/tlog-policy) with the keys of logs from outside of the mesh that are cosigned",
  },
  outsideFile: {
    env: "ALTRACE_OUTSIDE_WITNESSES",
    byDefault: undefined,
    read: path,
    help: "policy file (c2sp.org/tlog-policy) with the witnesses outside of the mesh to which logs are brought, by URL",
  },
  outsideEveryS: {
    env: "ALTRACE_OUTSIDE_WITNESS_EVERY_S",
    byDefault: "60",
    read: integer({ min: 1, max: 86_400 }),
    help: "time between two checkpoints of one log that are brought to them, s",
  },
  digestMs: {
    env: "ALTRACE_DIGEST_MS",
    byDefault: "1000",
    read: integer({ min: 50, max: 5 * SECOND_MS }),
    help: "time between digests, ms",
  },
  deadManMs: {
    env: "ALTRACE_DEAD_MAN_MS",
    byDefault: "12000",
    read: integer({ min: SECOND_MS, max: 60 * SECOND_MS }),
    help: "time after which a node closes without a digest; the same on every node, ms",
  },
  containmentMarginMs: {
    env: "ALTRACE_CONTAINMENT_MARGIN_MS",
    byDefault: "2000",
    read: integer({ min: 0, max: 60 * SECOND_MS }),
    help: "added before a silent node counts as closed, ms",
  },
  nodeSilentMs: {
    env: "ALTRACE_NODE_SILENT_MS",
    byDefault: "7000",
    read: integer({ min: 200, max: 60 * SECOND_MS }),
    help: "time without a heartbeat after which a node counts as silent, ms",
  },
  leaderTtlMs: {
    env: "ALTRACE_LEADER_TTL_MS",
    byDefault: "6000",
    read: integer({ min: 500, max: 60 * SECOND_MS }),
    help: "time without a word of the ledger's leader after which another coordinator leads, ms",
  },
  leaseTtlMs: {
    env: "ALTRACE_LEASE_TTL_MS",
    byDefault: "300000",
    read: integer({ min: 5 * SECOND_MS, max: 60 * MINUTE_MS }),
    help: "longest lease of money to a node, ms",
  },
  leaseUsdMicrosMin: {
    env: "ALTRACE_LEASE_USD_MICROS_MIN",
    byDefault: "100000",
    read: integer({ min: 1, max: 1_000_000_000 }),
    help: "smallest slice of a budget that is lent, micro-dollars",
  },
  leaseUsdMicrosMax: {
    env: "ALTRACE_LEASE_USD_MICROS_MAX",
    byDefault: "20000000",
    read: integer({ min: 1, max: 1_000_000_000_000 }),
    help: "largest slice of a budget that is lent without need, micro-dollars",
  },
  autoKillsPerMinute: {
    env: "ALTRACE_AUTO_KILLS_PER_MINUTE",
    byDefault: "10",
    read: integer({ min: 0, max: 1_000 }),
    help: "automatic kills that one node may ask for",
  },
  commandsMax: {
    env: "ALTRACE_COMMANDS_MAX",
    byDefault: "1000",
    read: integer({ min: 10, max: 100_000 }),
    help: "commands whose acknowledgements are remembered",
  },
  archive: {
    env: "ALTRACE_ARCHIVE",
    byDefault: "on",
    read: oneOf("on", "off"),
    help: "whether this coordinator keeps copies of all nodes' logs",
  },
  archiveDir: {
    env: "ALTRACE_ARCHIVE_DIR",
    byDefault: undefined,
    read: path,
    help: "folder of these copies, of this coordinator alone; without it archive in HOME",
  },
  archiveReserveMib: {
    env: "ALTRACE_ARCHIVE_RESERVE_MIB",
    byDefault: "1024",
    read: integer({ min: 64, max: 1_048_576 }),
    help: "free room of that folder's disk below which nothing is taken from nodes, MiB",
  },
  archiveKeepDays: {
    env: "ALTRACE_ARCHIVE_KEEP_DAYS",
    byDefault: "0",
    read: integer({ min: 0, max: 36_500 }),
    help: "days that a log stays after its end; then its head alone does; 0: for ever",
  },
  archiveColdDir: {
    env: "ALTRACE_ARCHIVE_COLD_DIR",
    byDefault: undefined,
    read: path,
    help: "folder to which a log is copied, whole and verified, before its records are removed",
  },
  drainMs: {
    env: "ALTRACE_DRAIN_MS",
    byDefault: "5000",
    read: integer({ min: 0, max: 600 * SECOND_MS }),
    help: "time that running calls get at shutdown, ms",
  },
} as const satisfies SettingTable;

/** Ports of a coordinator, counted from its base. */
export const GRPC_PORT_OFFSET = 92;
export const METRICS_PORT_OFFSET = 93;

/** A coordinator's settings, checked and frozen. Times in ms. */
export type CoordinatorConfig = {
  readonly home: string;
  readonly replicaId: string;
  readonly mesh: string | undefined;
  readonly trustFile: string | undefined;
  readonly natsUrl: string | undefined;
  readonly natsTls: NatsTls | undefined;
  readonly natsReplicas: 1 | 3;
  /** 0 lets the system choose. */
  readonly metricsHost: string;
  readonly metricsPort: number;
  readonly grpcTls: GrpcTlsConfig | undefined;
  /** Where logs may ask for cosignatures over HTTP, and the file of those from outside of the mesh. */
  readonly witness:
    | { readonly host: string; readonly port: number; readonly logsFile: string | undefined }
    | undefined;
  /** The file of witnesses outside of the mesh, and how often logs are brought to them. */
  readonly outside: { readonly file: string; readonly everyMs: number } | undefined;
  readonly digestMs: number;
  readonly deadManMs: number;
  readonly containmentMarginMs: number;
  readonly nodeSilentMs: number;
  readonly leaderTtlMs: number;
  readonly ledger: LedgerSettings;
  readonly autoKillsPerMinute: number;
  readonly commandsMax: number;
  /** Undefined: no copies are kept. Without `dir` they lie in `archiveFolder(home)`. */
  readonly archive:
    | {
        readonly dir: string | undefined;
        readonly reserveBytes: number;
        /** Undefined: nothing is removed by its age. */
        readonly keepMs: number | undefined;
        readonly coldDir: string | undefined;
      }
    | undefined;
  readonly drainMs: number;
  readonly logLevel: LogLevel;
};

/**
 * Settings to Config; all errors at once.
 *
 * @param flags By name without dashes; they win over the environment.
 * @param defaults What the caller knows better.
 */
export function readCoordinatorConfig(
  env: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>>,
  defaults: { readonly home: string },
): { readonly config: CoordinatorConfig } | { readonly errors: readonly string[] } {
  const read = readSettings(COORDINATOR_SETTINGS, env, flags);
  if ("errors" in read) return read;
  // Settings with a default are always there; the reader's type cannot say so.
  const values = read.values as Required<typeof read.values>;
  const errors: string[] = [];
  const grpcTls = readGrpcTls(read.values, Number(values.portBase) + GRPC_PORT_OFFSET, errors);
  const natsTls = readNatsTls(read.values, errors);
  const { witnessPort, witnessHost, witnessLogsFile } = read.values;
  if (witnessPort === undefined && witnessLogsFile !== undefined) {
    errors.push("ALTRACE_WITNESS_LOGS: nobody can ask without ALTRACE_WITNESS_PORT");
  }
  const [min, max] = [Number(values.leaseUsdMicrosMin), Number(values.leaseUsdMicrosMax)];
  if (min > max) {
    errors.push("ALTRACE_LEASE_USD_MICROS_MIN: expected at most ALTRACE_LEASE_USD_MICROS_MAX");
  }
  if (errors.length > 0) return { errors };
  const portBase = Number(values.portBase);
  const config: CoordinatorConfig = {
    home: values.home ?? defaults.home,
    replicaId: String(values.replicaId),
    mesh: values.mesh,
    trustFile: values.trustFile,
    natsUrl: values.natsUrl,
    natsTls,
    natsReplicas: values.natsReplicas === "3" ? 3 : 1,
    metricsHost: values.metricsHost ?? "127.0.0.1",
    metricsPort: portBase + METRICS_PORT_OFFSET,
    grpcTls,
    witness:
      witnessPort === undefined
        ? undefined
        : { host: witnessHost ?? "127.0.0.1", port: witnessPort, logsFile: witnessLogsFile },
    outside:
      values.outsideFile === undefined
        ? undefined
        : { file: values.outsideFile, everyMs: Number(values.outsideEveryS) * SECOND_MS },
    digestMs: Number(values.digestMs),
    deadManMs: Number(values.deadManMs),
    containmentMarginMs: Number(values.containmentMarginMs),
    nodeSilentMs: Number(values.nodeSilentMs),
    leaderTtlMs: Number(values.leaderTtlMs),
    ledger: ledgerSettings({ leaseTtlMs: Number(values.leaseTtlMs), usdMicros: { min, max } }),
    autoKillsPerMinute: Number(values.autoKillsPerMinute),
    commandsMax: Number(values.commandsMax),
    archive: archiveOf(values),
    drainMs: Number(values.drainMs),
    logLevel: values.logLevel ?? "info",
  };
  return { config: Object.freeze(config) };
}

function archiveOf(values: {
  readonly archive: string | undefined;
  readonly archiveDir: string | undefined;
  readonly archiveReserveMib: number | undefined;
  readonly archiveKeepDays: number | undefined;
  readonly archiveColdDir: string | undefined;
}): CoordinatorConfig["archive"] {
  if (values.archive === "off") return undefined;
  const reserveBytes = Number(values.archiveReserveMib) * BYTES_PER_MIB;
  const days = Number(values.archiveKeepDays);
  const keepMs = days === 0 ? undefined : days * DAY_MS;
  return { dir: values.archiveDir, reserveBytes, keepMs, coldDir: values.archiveColdDir };
}

/** Where a coordinator keeps its copies of nodes' logs, when nobody says otherwise. */
export function archiveFolder(home: string): string {
  return join(home, "archive");
}

/** The ledger's bounds that follow from the few that can be set. */
export function ledgerSettings(options: {
  readonly leaseTtlMs: number;
  readonly usdMicros: { readonly min: number; readonly max: number };
}): LedgerSettings {
  const { leaseTtlMs, usdMicros } = options;
  return {
    slices: {
      usd_micros: usdMicros,
      tokens: { min: 20_000, max: 20_000_000 },
      calls: { min: 10, max: 10_000 },
    },
    leaseTtlMs,
    driftMilli: 10,
    expiryGuardMs: 2_000,
    memoMs: { max: Math.max(2 * leaseTtlMs, 60 * MINUTE_MS), min: MINUTE_MS },
    ...LEASE_LIMITS,
  };
}
