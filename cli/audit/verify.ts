import { existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../adapters/system-clock.ts";
import { headOf, openCheckpoint } from "../../audit/checkpoint.ts";
import { minimumOf } from "../../audit/log-minimum.ts";
import type { LogPolicy } from "../../audit/log-policy.ts";
import type { SealedRecord } from "../../audit/record.ts";
import { encodeVkey, type VerifierKey } from "../../audit/signed-note.ts";
import { type Anchor, type VerifyReport, verifyLog } from "../../audit/verify-log.ts";
import { operationsFolder } from "../../coordinator/operations/operations-log.ts";
import { isBrought } from "../../coordinator/outside/outside-file.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import type { Output } from "../output.ts";
import { entryAt, sizeOf } from "./entries.ts";
import { knownLogs } from "./known-logs.ts";
import { anchorOf, disappeared, isOwnLog, listedLogs, withOtherKey } from "./listed-logs.ts";
import {
  type CheckpointFile,
  checkpointFiles,
  chosenFolder,
  homeLogs,
  type LogChoice,
  type LogPlace,
  logsBelow,
  ownKeys,
  readerBeside,
  readerOf,
  readKeysFile,
} from "./log-place.ts";

/** Findings that are printed of one log; all of them are in the JSON. */
const FINDINGS_SHOWN_MAX = 20;
/** Leaves between two looks of the progress bar. */
const PROGRESS_LEAVES = 16_384;
const BAR_CHARS = 24;

export type VerifyOptions = LogChoice & {
  readonly keys?: string;
  readonly witnessed?: string;
};

/** What is said of one log. `key`: the key it was held against. */
export type LogVerdict = {
  readonly origin: string;
  readonly key: string;
  readonly size: number;
  readonly root: string;
  readonly leaves: number;
  /** Records of which only the hash is here. */
  readonly pruned: number;
  /** That is all of them: the log has ended, and its head alone is kept. */
  readonly retired: boolean;
  readonly decisions: number;
  readonly cosigned_by: readonly string[];
  /** Records that the quorum of witnesses has seen, by the policy; absent: it asks for none. */
  readonly witnessed_size?: number;
  readonly witnessed_by?: readonly string[];
  readonly saw_all_ids: boolean;
  readonly findings: VerifyReport["findings"];
};

/**
 * `altrace audit verify`: every hash, signature and record of a log, from its files and public keys
 * alone. With `--offline DIR --keys FILE` nothing else is touched.
 */
export async function verifyLogs(context: CommandContext, options: VerifyOptions): Promise<void> {
  const { output } = context;
  const { folder, places, policy, outside, kept = [] } = await logsToVerify(context, options);
  const isHere = options.archive !== true && options.offline === undefined;
  const missing = policy.logs.filter(({ name }) => !places.some((one) => one.origin === name));
  const given = options.witnessed === undefined ? [] : checkpointFiles(options.witnessed);
  const listed = listedLogs(places);
  // Copies that were made one after the other need not be of one moment.
  const asListed = listed.filter(({ origin, size }) => isHere || sizeAt(places, origin) >= size);
  const copies = kept.map((one) => ({ ...one, isLater: isLaterThan(places, one) }));
  const behind = copies.filter(({ isLater }) => isLater).map(({ path }) => path);
  const anchors = [
    ...anchorsIn([...given, ...copies.filter(({ isLater }) => !isLater)], policy),
    ...anchorsIn(places.flatMap(quotedBy).filter(isOf(policy)), policy),
    ...asListed.map(anchorOf),
  ];
  const against = {
    ...{ policy, anchors, mayBePruned: options.archive !== true, home: context.home },
    hasQuorum: (origin: string) => outside === undefined || isBrought(outside, origin),
  };
  const verdicts = places.map((place) => verifyOne(place, against, output));
  const here = isHere ? [...places, ...homeLogs(context.home)] : places;
  const gone = disappeared(mayBeComplete(policy) ? listed : [], {
    ...{ places: here, nowMs: systemClock.nowMs() },
    ...(isHere && { home: context.home }),
  }).filter(({ origin }) => !missing.some(({ name }) => name === origin));
  const unseen = [...missing.map(({ name }) => name), ...gone.map(({ origin }) => origin)];
  const rekeyed = withOtherKey(listed, policy.logs).map(({ origin }) => origin);
  const ofLogs = verdicts.reduce((sum, verdict) => sum + verdict.findings.length, 0);
  const findings = ofLogs + unseen.length + rekeyed.length;
  const answer = {
    ...{ ok: findings === 0, missing_logs: unseen, rekeyed_logs: rekeyed },
    ...{ behind_logs: behind, listed_logs: listed.length, logs: verdicts },
  };
  output.result(answer, () => {
    for (const verdict of verdicts) print(verdict, output);
    for (const name of behind) output.line(`${name}  more of it was cosigned than is here by now`);
    for (const name of unseen) output.line(`${name}  log_missing  it must exist, and is not here`);
    for (const name of rekeyed) output.line(`${name}  log_rekeyed  it was listed with another key`);
  });
  if (findings > 0) throw new CommandError(`${folder}: ${findings} findings`);
}

/**
 * The last checkpoint of the log before, as the first record of one that followed in order quotes it: whoever
 * rewrites the one must rewrite the other. One that a witness disowned is not what was quoted, by definition.
 */
function quotedBy(place: LogPlace): readonly CheckpointFile[] {
  let genesis: SealedRecord | undefined;
  try {
    genesis = entryAt(place, 0, sizeOf(place))?.record;
  } catch {
    // The walk over the log says what is wrong with it.
    return [];
  }
  if (genesis?.k !== "genesis" || genesis.rc === "disowned" || genesis.prev === undefined)
    return [];
  const path = `${place.origin}, which quotes the log before`;
  return [{ path, bytes: Buffer.from(genesis.prev, "utf8") }];
}

/** Whether a checkpoint is of a log whose key is known. */
function isOf({ logs }: LogPolicy): (file: CheckpointFile) => boolean {
  return ({ bytes }) => {
    const origin = bytes.toString("utf8").split("\n", 1)[0];
    return logs.some(({ name }) => name === origin);
  };
}

/** What is verified, and by what. `kept`: checkpoints that the coordinator cosigned. */
type ToVerify = {
  readonly folder: string;
  readonly places: readonly LogPlace[];
  readonly policy: LogPolicy;
  /** Witnesses outside of the mesh, as the coordinator's operator has them. */
  readonly outside?: LogPolicy | undefined;
  readonly kept?: readonly CheckpointFile[];
};

async function logsToVerify(context: CommandContext, options: VerifyOptions): Promise<ToVerify> {
  const { offline, keys, archive } = options;
  const folder = chosenFolder(context.home, options);
  if (archive === true) {
    const known = await knownLogs(context);
    const { policy, outside } =
      keys === undefined ? known : { policy: readKeysFile(keys), outside: undefined };
    const own = existsSync(operationsFolder(context.home))
      ? logsBelow(operationsFolder(context.home))
      : [];
    const logs = [...policy.logs, ...(keys === undefined ? ownKeys(context.home, own) : [])];
    const places = [...logsBelow(folder), ...own];
    return { folder, places, policy: { ...policy, logs }, outside, kept: known.checkpoints };
  }
  if (offline !== undefined) {
    if (keys === undefined) throw new CommandError("--offline needs --keys <file>", 2);
    const policy = readKeysFile(keys);
    return { folder: offline, places: named(logsBelow(offline), policy), policy };
  }
  const places = options.own === true ? logsBelow(folder) : homeLogs(context.home);
  if (places.length === 0) throw new CommandError(`${folder} holds no log`);
  const own = ownKeys(context.home, places);
  const policy =
    keys === undefined ? { logs: own, witnesses: [], quorum: undefined } : readKeysFile(keys);
  return { folder, places, policy };
}

/** A copy that is on its way does not have the last of what was cosigned, and need not. */
function isLaterThan(places: readonly LogPlace[], { path, bytes }: CheckpointFile): boolean {
  const place = places.find(({ origin }) => origin === path);
  return place !== undefined && (headOf(bytes.toString("utf8"))?.size ?? 0) > sizeOf(place);
}

/** Whoever asks about coordinators' own logs alone does not say that the others are here. */
function mayBeComplete({ logs }: LogPolicy): boolean {
  return logs.some((key) => !isOwnLog({ origin: key.name }));
}

/** By the log's own word; 0 where it is not here. */
function sizeAt(places: readonly LogPlace[], origin: string): number {
  const place = places.find((one) => one.origin === origin);
  return place === undefined ? 0 : sizeOf(place);
}

/** A folder that is one log itself may lie anywhere: the only key there is names it. */
function named(places: readonly LogPlace[], { logs }: LogPolicy): readonly LogPlace[] {
  const [only] = places;
  const [key] = logs;
  if (places.length !== 1 || logs.length !== 1 || only === undefined || key === undefined) {
    return places;
  }
  return [{ dir: only.dir, origin: key.name }];
}

/** What each log is held against beside its own files. */
type Against = {
  readonly policy: LogPolicy;
  readonly anchors: readonly NamedAnchor[];
  /** A node removes what coordinators have; they themselves remove nothing. */
  readonly mayBePruned: boolean;
  readonly home: string;
  /** Whether the policy's quorum is asked for of this log. */
  readonly hasQuorum: (origin: string) => boolean;
};
type NamedAnchor = Anchor & { readonly origin: string };

/** Checkpoints that others kept. One that the policy's keys did not sign shows nothing, and is refused. */
function anchorsIn(files: readonly CheckpointFile[], policy: LogPolicy): readonly NamedAnchor[] {
  return files.map(({ path, bytes }) => {
    const results = policy.logs.map((key) => openCheckpoint(bytes, key, policy.witnesses));
    const opened = results.find(({ ok }) => ok);
    if (!opened?.ok) throw new CommandError(`${path}: no known log signed it`);
    const { origin, size, root, cosignatures } = opened.value;
    const times = cosignatures.map(({ timeSeconds }) => timeSeconds);
    const anchor = { origin, size, root };
    return times.length === 0 ? anchor : { ...anchor, timeSeconds: Math.max(...times) };
  });
}

function verifyOne(place: LogPlace, against: Against, output: Output): LogVerdict {
  const { policy } = against;
  const keys = policy.logs.filter(({ name }) => name === place.origin);
  if (keys.length === 0) return unknownLog(place);
  // A log may have two keys while one replaces the other: the first that opens it is held against it.
  const reports = keys.map((key) => ({ key, report: verifyBy(key, place, against, output) }));
  const best = reports.find(({ report }) => report.checkpoint !== undefined) ?? reports[0];
  if (best === undefined) return unknownLog(place);
  const { key, report } = best;
  return {
    origin: place.origin,
    key: encodeVkey(key),
    size: report.checkpoint?.size ?? 0,
    root: Buffer.from(report.checkpoint?.root ?? []).toString("hex"),
    leaves: report.leaves,
    pruned: report.pruned,
    retired: report.isRetired,
    decisions: report.decisions,
    cosigned_by: report.checkpoint?.cosignatures.map((one) => one.key.name) ?? [],
    ...witnessedOf(report, against.policy),
    saw_all_ids: report.sawAllIds,
    findings: report.findings,
  };
}

function witnessedOf({ quorum }: VerifyReport, policy: LogPolicy) {
  if (policy.quorum === undefined || quorum === undefined) return {};
  const { size, cosignatures } = quorum;
  return { witnessed_size: size, witnessed_by: cosignatures.map(({ key }) => key.name) };
}

function verifyBy(
  logKey: VerifierKey,
  place: LogPlace,
  { policy, anchors, mayBePruned, home, hasQuorum }: Against,
  output: Output,
): VerifyReport {
  let shown = 0;
  return verifyLog({
    reader: readerBeside(home, place),
    logKey,
    policy: hasQuorum(place.origin) ? policy : { ...policy, quorum: undefined },
    anchors: anchors.filter(({ origin }) => origin === place.origin),
    ...(mayBePruned ? { minimum: () => minimumOf(readerOf(place.dir)) } : {}),
    onProgress: ({ leaves, size }) => {
      if (!output.terminal || (leaves < size && leaves - shown < PROGRESS_LEAVES)) return;
      shown = leaves;
      output.progress(bar(place.origin, leaves, size));
    },
  });
}

/** `[######------]  50 %  5,000 of 10,000 records` */
export function bar(what: string, done: number, all: number): string {
  const share = all === 0 ? 1 : done / all;
  const full = Math.floor(share * BAR_CHARS);
  const drawn = `${"#".repeat(full)}${"-".repeat(BAR_CHARS - full)}`;
  const percent = String(Math.floor(share * 100)).padStart(3);
  return `${what}  [${drawn}] ${percent} %  ${done} of ${all} records`;
}

function unknownLog({ dir, origin }: LogPlace): LogVerdict {
  const detail = `no key is known for ${join(dir)}`;
  return {
    origin,
    key: "",
    size: 0,
    root: "",
    leaves: 0,
    pruned: 0,
    retired: false,
    decisions: 0,
    cosigned_by: [],
    saw_all_ids: true,
    findings: [{ code: "log_signature_missing", detail }],
  };
}

function print(verdict: LogVerdict, output: Output): void {
  const { origin, size, leaves, decisions, findings, root } = verdict;
  const cosigned = verdict.cosigned_by.length > 0 ? `  cosigned by ${verdict.cosigned_by}` : "";
  const good = findings.length === 0 ? "ok" : `${findings.length} findings`;
  output.line(
    `${origin}  ${good}  ${leaves} of ${size} records, ${decisions} decisions${cosigned}`,
  );
  if (verdict.retired) {
    output.line(`  ${verdict.pruned} records were removed by their age: the head alone is here`);
  } else if (verdict.pruned > 0) {
    output.line(`  ${verdict.pruned} records are not here any more, their hashes are: --archive`);
  }
  if (root !== "") output.line(`  root ${root}`);
  const { witnessed_size: seen, witnessed_by: by = [] } = verdict;
  if (seen !== undefined) output.line(`  ${seen} of ${size} records witnessed by ${by}`);
  if (!verdict.saw_all_ids) output.line("  request ids further apart than the lint remembers");
  for (const { code, detail, index } of findings.slice(0, FINDINGS_SHOWN_MAX)) {
    output.line(`  ${code}${index === undefined ? "" : ` at ${index}`}: ${detail}`);
  }
}
