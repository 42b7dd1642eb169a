import type { CallFields } from "./call-fields.ts";
import type { CommandOp } from "./command-op.ts";
import type { LogFields } from "./log-fields.ts";

/**
 * The records of the audit log, as types: what a leaf says before it becomes bytes.
 *
 * Names are short because every decision of every agent carries them. No record holds content, a
 * digest of content, or a person's name. Text that comes from outside goes through `recordable`
 * first, so that nobody can write free text into the log.
 */

/** Stages of the decision chain, and so the length of `sv`. */
export const STAGES = 14;
/** Names in `act.tools` at most; a request that offers more is refused before it is recorded. */
export const RECORD_TOOLS_MAX = 128;
/** Characters of one name that came from outside (model, route, tool), at most. */
export const RECORD_NAME_CHARS_MAX = 96;
/** Characters of the client's own request id, at most. */
export const CLIENT_ID_CHARS_MAX = 128;
/** Codes, and lines of what was seen, that one record of the kernel layer has at most. */
export const KERNEL_FAULTS_MAX = 16;
/** Characters of a line of what was seen. */
export const KERNEL_WORDS_CHARS_MAX = 256;
/** Characters of a checkpoint quoted by a `genesis` record, at most. */
export const QUOTED_CHECKPOINT_CHARS_MAX = 8_192;

/** Where a request came in. `api` is the node's own door, where delegations are asked for. */
export const DOORS = ["gateway", "forward", "transparent", "dns", "api"] as const;
export type Door = (typeof DOORS)[number];

/** Where an agent stands, lowest first. */
export const STANDINGS = ["normal", "warning", "throttle", "quarantine", "block", "kill"] as const;
export type RecordedStanding = (typeof STANDINGS)[number];

/** Members of every record. `ep` and `seq` are added when the record gets its place in the log. */
type Common = {
  /** Version of this format. */
  readonly v: 1;
  /** Wall clock of the writer, ms since the Unix epoch. */
  readonly t: number;
  /** The node's name. */
  readonly node: string;
};

/** Where a record stands. Both are absent in the WAL and present in the log. */
export type Place = {
  /** Log epoch, from 1. */
  readonly ep: number;
  /** Index of the leaf in its log, from 0. */
  readonly seq: number;
};

/**
 * What the agent wanted to do. A member is absent when the request was refused before it was known.
 */
export type Act = {
  readonly door: Door;
  /** Destination, `host` or `host:port`, lower case. */
  readonly host?: string;
  /** The dialect's route, such as `openai.chat`, or the method of a tunnel. */
  readonly route?: string;
  readonly model?: string;
  /**
   * Tools offered or called, in the request's order. Empty: it was looked at and there are none.
   */
  readonly tools?: readonly string[];
  /** Tools that were offered and did not go upstream, because they are not granted. */
  readonly out?: readonly string[];
  /** Whether a streamed answer was asked for. */
  readonly stream?: boolean;
  /** Where a captured connection was going, `address:port`: it was not dialled. */
  readonly orig?: string;
};

/** What passed a tunnel, in bytes. */
export type PassedBytes = { readonly up: number; readonly down: number };

/** The contract the request ran under. */
export type ContractRef = {
  readonly id: string;
  /** Id of the contract at the head of its chain. */
  readonly root: string;
  /** Delegations between root and this contract; 0 for the root itself. */
  readonly d: number;
};

/** Amounts, all integers >= 0. */
export type Amounts = {
  /** Millionths of a US dollar. */
  readonly usd_u: number;
  /** Tokens. */
  readonly tok: number;
  /** Calls. */
  readonly calls: number;
  /** Held on, or charged to, the overrun account: millionths of a US dollar. */
  readonly over_u: number;
};

/** What was held for the request before it went upstream, on which account and lease. */
export type Hold = Amounts & { readonly acct: string; readonly lease: string };

/** What was scanned, and what was not. */
export type Inspection = {
  /** Content, in bytes, after transfer and content coding are undone. */
  readonly n: number;
  /** How many of these bytes every rule saw. <= `n`. */
  readonly scanned: number;
  /** Number of content rules that were run. */
  readonly rules: number;
  /** Why not all of it was scanned, snake_case. Always there when `scanned` < `n`. */
  readonly skipped?: string;
};

/** Members that a decision and the settlement of the same request share. */
type OfRequest = Common & {
  /** The request's id: a UUIDv7 of ours, lower case. */
  readonly rid: string;
  /** The agent in its SPIFFE spelling. Absent when it was not established. */
  readonly ag?: string;
  /** Id of the virtual key that was presented. */
  readonly kid?: string;
  /** Pseudonym of the person the agent acts for; the key that links it can be erased. */
  readonly sp?: string;
  readonly c?: ContractRef;
  /** Name of the reason in the registry; `ok` when nothing objected. */
  readonly rc: string;
  readonly in?: Inspection;
  /** Time this node itself spent, from the complete head to the record, in microseconds. */
  readonly lat_us?: number;
};

/** One answer of the decision chain. */
export type DecisionRecord = OfRequest & {
  readonly k: "decision";
  /** `request`: before anything went upstream. `response`: the answer had begun and was cut. */
  readonly ph: "request" | "response";
  /** `would_refuse`: allowed, because the stage that objected runs in shadow. */
  readonly dec: "allow" | "deny" | "would_refuse";
  /** The stage that objected, 1..14; 0 when none did. */
  readonly st: number;
  /** One letter per stage: P passed, D objected, S does not apply, - not reached. */
  readonly sv: string;
  readonly act: Act;
  /** Id of the rule that decided. */
  readonly rule?: string;
  /** Version or hash of the policy in force. */
  readonly pol: string;
  /** Version of the trust bundle in force. */
  readonly tb: number;
  readonly hold?: Hold;
  /** Output limit that this node wrote into the request, in tokens. Absent: the caller's stood. */
  readonly clamped?: number;
  /** The client's own `x-request-id`, printable ASCII. Never a key. */
  readonly cid?: string;
  /** Decisions this record stands for. Absent means 1. */
  readonly n?: number;
};

/** How an allowed request ended, and what it cost. At most one for each allow. */
export type SettleRecord = OfRequest & {
  readonly k: "settle";
  readonly ph: "response";
  readonly settled: Amounts;
  /** Present for tunnels. */
  readonly bytes?: PassedBytes;
  /** What had been held, repeated so that a settlement can be read alone. */
  readonly hold?: Hold;
};

/** Equal refusals of about one second, counted instead of written one by one. */
export type FloodRecord = Common & {
  readonly k: "flood";
  /** Refusals this record stands for. `t` is the time of the last one. */
  readonly n: number;
  /** Time of the first one, ms since the Unix epoch. */
  readonly t0: number;
  /** Ids of the first and the last request. */
  readonly first: string;
  readonly last: string;
  /** The stage that refused, 1..14, and its reason: the same for all. */
  readonly st: number;
  readonly rc: string;
  /** Absent: requests of unknown sources, taken together. */
  readonly ag?: string;
  readonly pol: string;
  readonly tb: number;
};

/** The node started. */
export type BootRecord = Common & {
  readonly k: "boot";
  /** Id of this start, as in the names of the WAL files. */
  readonly run: string;
  /** The kernel's boot id: the same as in the last `boot` means that only the process died. */
  readonly boot: string;
  /** Whether the last run ended in order and its WAL was whole. */
  readonly clean: boolean;
  /** Bytes cut from WAL files as torn frames. */
  readonly torn: number;
  /** Version of the program. */
  readonly sw: string;
};

/** Decisions that are known to be missing. */
export type GapRecord = Common & {
  readonly k: "gap";
  /** Decisions lost. Exact if `exact`, else the most there can be. */
  readonly n: number;
  readonly exact: boolean;
  /** Why, snake_case. */
  readonly rc: string;
  /** When the lost ones were made: from `t0` to `t1`, ms since the Unix epoch. */
  readonly t0: number;
  readonly t1: number;
};

/** The wall clock jumped against the monotonic one. `t` is the new time. */
export type ClockRecord = Common & {
  readonly k: "clock";
  /** The jump in ms; negative is back. */
  readonly step_ms: number;
};

/** Another policy is in force. */
export type PolicyRecord = Common & {
  readonly k: "policy";
  readonly pol: string;
  /** The policy before. */
  readonly prev?: string;
  /** SHA-256 of the signed mesh record that caused it, lower-case hex. */
  readonly rec?: string;
};

/** A virtual key or a signing key came or went. */
export type KeyRecord = Common & {
  readonly k: "key";
  readonly op: "add" | "remove" | "rotate";
  /** What the key is for. */
  readonly use: "agent" | "log" | "node" | "trust";
  readonly kid: string;
  readonly ag?: string;
  readonly tb?: number;
  readonly rec?: string;
};

/** A kill or a revive is enforced on this node. */
export type KillRecord = Common & {
  readonly k: "kill";
  readonly op: "kill" | "revive";
  /** A scope's name, such as `team/<team>`. */
  readonly scope: string;
  /** Version of the scope's state. */
  readonly ver?: number;
  readonly rec?: string;
  /** From receipt to the store that enforces it, microseconds. */
  readonly enf_us?: number;
  /** Streams and tunnels cut. */
  readonly cut?: number;
};

/**
 * Somebody's order to the whole mesh came into force here: each node says by itself who gave it. What it did
 * is said by other records, such as `kill`, or by the mesh record of that hash.
 */
export type CommandRecord = Common & {
  readonly k: "command";
  readonly op: CommandOp;
  /** What it is about, such as `team/<team>`, `policy`, `key/<id>`, `node/<id>` or `budget/<account>`. */
  readonly scope: string;
  /** Version of the scope. */
  readonly ver: number;
  /** SHA-256 of the signed mesh record, lower-case hex. */
  readonly rec: string;
  /** Id of the command, as `--json` and WatchCommand have it. */
  readonly cmd: string;
  /** When it was given, by the clock of whoever did, ms since the Unix epoch. */
  readonly at: number;
  /** Ids of the keys whose signatures counted: an operator's, or a coordinator's where that suffices. */
  readonly by: readonly string[];
  /** Who gave it, as the coordinator knows them. Absent: nobody, as for an automatic kill. */
  readonly who?: string;
  /** Why, in their words. */
  readonly why?: string;
  /** Why an automatic kill was asked for, snake_case. */
  readonly cause?: string;
};

/** What somebody asked of the control plane, and what they were told. */
export type CallRecord = Common & { readonly k: "call" } & CallFields;

/** An agent's standing changed. */
export type StandingRecord = Common & {
  readonly k: "standing";
  readonly ag: string;
  readonly from: RecordedStanding;
  readonly to: RecordedStanding;
  /** The cause, snake_case. */
  readonly rc: string;
  /** The score after the event. */
  readonly score: number;
  /** The request that caused it. */
  readonly rid?: string;
};

/** Holds of a model count from here on with bills that are further above them. It only ever rises. */
export type DistrustRecord = Common & {
  readonly k: "distrust";
  /** `provider/model` of the policy. */
  readonly model: string;
  /** A bill over its hold, at most, thousandths. */
  readonly milli: number;
  /** `bill`: this node saw it. `mesh`: another node did. */
  readonly by: "bill" | "mesh";
  /** The request that was billed. */
  readonly rid?: string;
  /** SHA-256 of the mesh record that says so, lower-case hex. */
  readonly rec?: string;
};

/** What holds this machine's packets is relied on, or is not, from here on. */
export type KernelRecord = Common & {
  readonly k: "kernel";
  /** `ok`, or the first of `wrong`. */
  readonly rc: string;
  /** Codes of all faults, sorted. Absent: the canary was stopped everywhere and all rules stand. */
  readonly wrong?: readonly string[];
  /** What was seen, such as where a canary got to; the first of them. */
  readonly what?: readonly string[];
};

/** The first leaf of a log. */
export type GenesisRecord = Common & {
  readonly k: "genesis";
  /** Origin of this log. */
  readonly origin: string;
  /** Why this epoch was opened, snake_case. */
  readonly rc: string;
  /** The last checkpoint of the epoch before, the whole note. Absent in a node's first epoch. */
  readonly prev?: string;
};

/** The last leaf of a log; `rc` says why, snake_case. */
export type CloseRecord = Common & { readonly k: "close"; readonly rc: string };

/** A log that must exist, in a coordinator's own log. */
export type LogRecord = Common & { readonly k: "log" } & LogFields;

/** A pseudonym key was erased: the records that carry it can no longer be linked to a person. */
export type RedactRecord = Common & {
  readonly k: "redact";
  /** Id of the erased key. */
  readonly kid: string;
  /** Who ordered it: id of an operator's key; `unknown` where that is listed no more and the order is done again. */
  readonly by: string;
  /** Why, snake_case. */
  readonly rc: string;
};

export type AuditRecord =
  | DecisionRecord
  | SettleRecord
  | FloodRecord
  | BootRecord
  | GapRecord
  | ClockRecord
  | PolicyRecord
  | KeyRecord
  | KillRecord
  | CommandRecord
  | CallRecord
  | StandingRecord
  | DistrustRecord
  | KernelRecord
  | GenesisRecord
  | CloseRecord
  | LogRecord
  | RedactRecord;

/** A record with its place in a log. */
export type SealedRecord = AuditRecord & Place;

/**
 * Makes text from outside fit for a record: characters that are not printable ASCII, and `"`, `\`
 * and space, become `?`; what is too long is cut and ends in `~`; nothing at all becomes `?`.
 */
export function recordable(text: string, charsMax: number = RECORD_NAME_CHARS_MAX): string {
  if (text === "") return "?";
  const kept = text.length > charsMax ? `${text.slice(0, charsMax - 1)}~` : text;
  return kept.replace(/[^\x21\x23-\x5b\x5d-\x7e]/g, "?");
}

/** Decisions that a record stands for: the sum over a log is the number of decisions made. */
export function decisionsIn(record: AuditRecord): number {
  if (record.k === "flood") return record.n;
  return record.k === "decision" ? (record.n ?? 1) : 0;
}
