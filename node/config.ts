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
  listOf,
  path,
  readSettings,
  SettingError,
  type SettingTable,
  text,
} from "../adapters/settings.ts";
import { nodeNameOf } from "../proto/ids.ts";
import { parseRange } from "./dataplane/tunnel/address-rules.ts";

const TEAMS = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(,[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const SECOND_MS = 1_000;

type Ranges = readonly (readonly [net: string, bits: number])[];

function ranges(value: string): Ranges {
  return value.split(",").map((part) => {
    const range = parseRange(part.trim());
    if (range === undefined) throw new SettingError("expected ranges such as 10.1.0.0/16");
    return range;
  });
}

function nodeName(value: string): string {
  const name = nodeNameOf(value);
  if (name !== undefined) return name;
  throw new SettingError("expected lower-case letters, digits, inner hyphens and dots, at most 63");
}

/** 0 to 2 are the process's own. */
function descriptors(value: string): readonly number[] {
  if (!/^[1-9][0-9]{0,4}(,[1-9][0-9]{0,4})*$/.test(value)) {
    throw new SettingError("expected descriptors such as 3,4");
  }
  return value.split(",").map(Number);
}

/** Every setting of a node: its name, default, unit and bounds. */
export const NODE_SETTINGS = {
  home: {
    env: "ALTRACE_HOME",
    byDefault: undefined,
    read: path,
    help: "folder of all state",
  },
  nodeId: {
    env: "ALTRACE_NODE_ID",
    byDefault: "node-1",
    read: nodeName,
    help: "this node's name in the mesh; a machine's, whose dots are hyphens there",
  },
  natsUrl: {
    env: "ALTRACE_NATS_URL",
    byDefault: undefined,
    read: text(/^(nats|tls):\/\/[^\s]+$/, "nats://host:port or tls://host:port"),
    help: "NATS server of the mesh; without it the bus is in this process",
  },
  ...NATS_TLS_SETTINGS,
  trustFile: {
    env: "ALTRACE_TRUST",
    byDefault: undefined,
    read: path,
    help: "trust.json of the mesh, which pins the operator's key",
  },
  enrolFile: {
    env: "ALTRACE_ENROL_FILE",
    byDefault: undefined,
    read: path,
    help: "file with that token; one that is not there is none, as for a node that has enrolled",
  },
  enrolToken: {
    env: "ALTRACE_ENROL",
    byDefault: undefined,
    read: text(/^[A-Za-z0-9_-]{20,256}$/, "a token from `altrace token`"),
    help: "one-time token with which a new node enrols",
  },
  portBase: {
    env: "ALTRACE_PORT_BASE",
    byDefault: "4000",
    read: integer({ min: 1024, max: 65_435 }),
    help: "gateway port; the forward proxy is on base + 80, gRPC over TLS on + 90, metrics on + 91",
  },
  ...SERVER_SETTINGS,
  host: {
    env: "ALTRACE_HOST",
    byDefault: "127.0.0.1",
    read: address,
    help: "address that the gateway and the forward proxy listen on",
  },
  ...GRPC_TLS_SETTINGS,
  tunnelRanges: {
    env: "ALTRACE_TUNNEL_RANGES",
    byDefault: undefined,
    read: ranges,
    help: "private address ranges that the forward proxy may reach, such as 10.1.0.0/16, by commas",
  },
  transparentFds: {
    env: "ALTRACE_TRANSPARENT_FDS",
    byDefault: undefined,
    read: descriptors,
    help: "listening sockets of captured connections, as the launcher passes them, by commas",
  },
  knockFd: {
    env: "ALTRACE_KNOCK_FD",
    byDefault: undefined,
    read: integer({ min: 3, max: 65_535 }),
    help: "socket by which a kill closes the kernel gate, as the launcher passes it",
  },
  turnFd: {
    env: "ALTRACE_TURN_FD",
    byDefault: undefined,
    read: integer({ min: 3, max: 65_535 }),
    help: "where the launcher says that the node before has ended, as it passes it",
  },
  freeFd: {
    env: "ALTRACE_FREE_FD",
    byDefault: undefined,
    read: integer({ min: 3, max: 65_535 }),
    help: "where the node says that it has nothing left to do, as the launcher passes it",
  },
  dnsHosts: {
    env: "ALTRACE_DNS_HOSTS",
    byDefault: undefined,
    read: listOf(address),
    help: "addresses on whose port 14053 captured agents' questions for names are answered",
  },
  podsFile: {
    env: "ALTRACE_PODS_FILE",
    byDefault: undefined,
    read: path,
    help: "JSON list of agents and their addresses, for captured connections",
  },
  servingFile: {
    env: "ALTRACE_SERVING_FILE",
    byDefault: undefined,
    read: path,
    help: "file that is there once this process serves, for a probe that the node before answers as well",
  },
  loops: {
    env: "ALTRACE_LOOPS",
    byDefault: "1",
    read: integer({ min: 1, max: 64 }),
    help: "data loops, each a thread with its own listener",
  },
  tableRows: {
    env: "ALTRACE_TABLE_ROWS",
    byDefault: "65536",
    read: integer({ min: 16, max: 1_048_576 }),
    help: "agents that can be active at once",
  },
  region: {
    env: "ALTRACE_REGION",
    byDefault: undefined,
    read: text(/^[A-Z]{2}(-[A-Z0-9]{1,3})?$/, "an ISO 3166 code such as DE or US-CA"),
    help: "where this node is; without it no source region is granted",
  },
  credentialsDir: {
    env: "ALTRACE_CREDENTIALS",
    byDefault: undefined,
    read: path,
    help: "folder with one file for each provider credential, mode 0600: <name> or <team>.<name>",
  },
  credentialTeams: {
    env: "ALTRACE_CREDENTIAL_TEAMS",
    byDefault: undefined,
    read: text(TEAMS, "teams with commas between"),
    help: "teams that work through this node: other teams' credentials are not read; without it all",
  },
  deadManMs: {
    env: "ALTRACE_DEAD_MAN_MS",
    byDefault: "12000",
    read: integer({ min: SECOND_MS, max: 60 * SECOND_MS }),
    help: "time without an entitling digest after which the node closes, ms",
  },
  heartbeatMs: {
    env: "ALTRACE_HEARTBEAT_MS",
    byDefault: "2000",
    read: integer({ min: 100, max: 30 * SECOND_MS }),
    help: "time between the node's heartbeats, ms",
  },
  auditSyncMaxMs: {
    env: "ALTRACE_AUDIT_SYNC_MAX_MS",
    byDefault: "1000",
    read: integer({ min: 10, max: 60 * SECOND_MS }),
    help: "longest time a record may be unsynced before allows stop, ms",
  },
  auditShipMs: {
    env: "ALTRACE_AUDIT_SHIP_MS",
    byDefault: "5000",
    read: integer({ min: 100, max: 600 * SECOND_MS }),
    help: "time between two rounds in which the log is copied to the coordinators, ms",
  },
  auditKeepMib: {
    env: "ALTRACE_AUDIT_KEEP_MIB",
    byDefault: "4096",
    read: integer({ min: 16, max: 67_108_864 }),
    help: "records that stay on this disk once most coordinators have them too, MiB",
  },
  auditEpochDays: {
    env: "ALTRACE_AUDIT_EPOCH_DAYS",
    byDefault: "30",
    read: integer({ min: 1, max: 3_650 }),
    help: "age at which the log is ended and another one opened, days",
  },
  auditEpochRecords: {
    env: "ALTRACE_AUDIT_EPOCH_RECORDS",
    byDefault: "1073741824",
    read: integer({ min: 100, max: 1_073_741_824 }),
    help: "records after which the log is ended and another one opened",
  },
  auditKeepDays: {
    env: "ALTRACE_AUDIT_KEEP_DAYS",
    byDefault: "0",
    read: integer({ min: 0, max: 36_500 }),
    help: "days that a log which most coordinators have stays here after its end; 0: for ever",
  },
  auditPersonsDays: {
    env: "ALTRACE_AUDIT_PERSONS_DAYS",
    byDefault: "0",
    read: integer({ min: 0, max: 366 }),
    help: "days that a person stands in the log under one pseudonym; 0: no person is recorded",
  },
  auditPersonsKeepDays: {
    env: "ALTRACE_AUDIT_PERSONS_KEEP_DAYS",
    byDefault: "0",
    read: integer({ min: 0, max: 36_500 }),
    help: "days after which a pseudonym's key is erased once it is not used any more; 0: it is kept",
  },
  auditPersonsMax: {
    env: "ALTRACE_AUDIT_PERSONS_MAX",
    byDefault: "65536",
    read: integer({ min: 16, max: 1_048_576 }),
    help: "keys of persons that are kept at once, of 256 bytes each",
  },
  auditReserveMib: {
    env: "ALTRACE_AUDIT_RESERVE_MIB",
    byDefault: "512",
    read: integer({ min: 64, max: 1_048_576 }),
    help: "free disk that the log keeps for allows, kills and floods, MiB",
  },
  drainMs: {
    env: "ALTRACE_DRAIN_MS",
    byDefault: "10000",
    read: integer({ min: 0, max: 600 * SECOND_MS }),
    help: "time that running requests get at shutdown, ms",
  },
  gateSocket: {
    env: "ALTRACE_GATE_SOCKET",
    byDefault: undefined,
    read: path,
    help: "unix socket of the enforcer on this machine; without it no kernel gate is closed by a kill",
  },
  webhookFile: {
    env: "ALTRACE_WEBHOOK_FILE",
    byDefault: undefined,
    read: path,
    help: "file that says where refusals are told of, mode 0600; without it they are not (docs/webhook.md)",
  },
} as const satisfies SettingTable;

/** A node's settings, checked and frozen. Times in ms. */
export type NodeConfig = {
  readonly home: string;
  readonly nodeId: string;
  readonly natsUrl: string | undefined;
  readonly natsTls: NatsTls | undefined;
  readonly trustFile: string;
  readonly enrolFile: string | undefined;
  readonly enrolToken: string | undefined;
  readonly portBase: number;
  readonly metricsHost: string;
  readonly host: string;
  readonly grpcTls: GrpcTlsConfig | undefined;
  readonly tunnelRanges: Ranges;
  readonly transparentFds: readonly number[];
  readonly dnsHosts: readonly string[];
  readonly podsFile: string | undefined;
  readonly servingFile: string | undefined;
  readonly loops: number;
  readonly tableRows: number;
  readonly region: string | undefined;
  readonly credentialsDir: string | undefined;
  readonly credentialTeams: readonly string[] | undefined;
  readonly deadManMs: number;
  readonly heartbeatMs: number;
  readonly auditSyncMaxMs: number;
  readonly auditShipMs: number;
  readonly auditKeepMib: number;
  readonly auditEpochDays: number;
  readonly auditKeepDays: number;
  readonly auditEpochRecords: number;
  /** 0: no person is recorded. */
  readonly auditPersonsDays: number;
  /** 0: they are kept. */
  readonly auditPersonsKeepDays: number;
  readonly auditPersonsMax: number;
  readonly auditReserveMib: number;
  readonly drainMs: number;
  /** Where the machine's enforcer listens, where there is one. */
  readonly gateSocket: string | undefined;
  readonly knockFd: number | undefined;
  /** Present for a node that takes the place of another one. */
  readonly turnFd: number | undefined;
  /** Present for a node whose place another one may take. */
  readonly freeFd: number | undefined;
  readonly webhookFile: string | undefined;
  readonly logLevel: LogLevel;
};

/** Ports of a node, counted from its base. */
export const FORWARD_PORT_OFFSET = 80;
export const GRPC_PORT_OFFSET = 90;
export const METRICS_PORT_OFFSET = 91;

/**
 * Settings to Config; all errors at once.
 *
 * @param flags By name without dashes; they win over the environment.
 * @param defaults What the caller knows better, such as the trust file of the same process.
 */
export function readNodeConfig(
  env: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, string | undefined>>,
  defaults: { readonly home: string; readonly trustFile: string },
): { readonly config: NodeConfig } | { readonly errors: readonly string[] } {
  const read = readSettings(NODE_SETTINGS, env, flags);
  if ("errors" in read) return read;
  const { values } = read;
  const errors: string[] = [];
  const grpcTls = readGrpcTls(values, Number(values.portBase) + GRPC_PORT_OFFSET, errors);
  const natsTls = readNatsTls(values, errors);
  if (errors.length > 0) return { errors };
  const config = {
    ...values,
    grpcTls,
    natsTls,
    home: values.home ?? defaults.home,
    trustFile: values.trustFile ?? defaults.trustFile,
    natsUrl: values.natsUrl,
    enrolFile: values.enrolFile,
    enrolToken: values.enrolToken,
    region: values.region,
    tunnelRanges: values.tunnelRanges ?? [],
    transparentFds: values.transparentFds ?? [],
    dnsHosts: values.dnsHosts ?? [],
    podsFile: values.podsFile,
    servingFile: values.servingFile,
    credentialsDir: values.credentialsDir,
    credentialTeams: values.credentialTeams?.split(","),
    gateSocket: values.gateSocket,
    knockFd: values.knockFd,
    turnFd: values.turnFd,
    freeFd: values.freeFd,
    webhookFile: values.webhookFile,
  } as NodeConfig;
  return { config: Object.freeze(config) };
}
