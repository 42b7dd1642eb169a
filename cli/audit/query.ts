import { minimumOf } from "../../audit/log-minimum.ts";
import type { SealedRecord } from "../../audit/record.ts";
import { indexedLeaves } from "../../node/audit/request-index.ts";
import { parseAgentId } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { type Entry, entriesFrom, entryAt, sizeOf } from "./entries.ts";
import { Erasures } from "./erasures.ts";
import { chosenFolder, type LogChoice, type LogPlace, logsBelow, readerOf } from "./log-place.ts";
import { Persons } from "./persons.ts";
import { bar } from "./verify.ts";

/** Records that one query gives when nobody says how many. */
const LIMIT_DEFAULT = 1_000;
const REQUEST_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

export type QueryOptions = LogChoice & {
  readonly request?: string;
  readonly agent?: string;
  readonly since?: string;
  readonly until?: string;
  readonly reason?: string;
  readonly stage?: string;
  readonly kind?: string;
  readonly scope?: string;
  readonly operator?: string;
  readonly person?: string;
  readonly persons?: boolean;
  readonly denied?: boolean;
  readonly limit?: string;
};

type Wanted = (record: SealedRecord) => boolean;

/**
 * `altrace audit query`: records of the log that answer a question, oldest first. It shows what the files
 * say; whether that is what was signed is asked of `altrace audit verify`.
 */
export function queryLogs(context: CommandContext, options: QueryOptions): void {
  const { output } = context;
  const limit = countOf("--limit", options.limit, LIMIT_DEFAULT);
  const folder = chosenFolder(context.home, options);
  const places = logsBelow(folder);
  const erasures = new Erasures(context.home, folder);
  const persons = new Persons(context.home, { isNamed: options.persons === true, erasures });
  if (options.persons === true || options.person !== undefined) erasures.catchUp();
  const wanted = wantedBy(options, persons);
  const found: SealedRecord[] = [];
  for (const place of places) {
    const size = sizeOf(place);
    for (const records of batches(
      place,
      size,
      options,
      output.terminal ? output.progress : silent,
    )) {
      for (const record of records) erasures.note(record);
      found.push(...records.filter(wanted));
      if (found.length >= limit) break;
    }
  }
  const isCut = found.length > limit;
  const records = found.slice(0, limit);
  const named = namesIn(records, persons);
  output.result({ records, ...(named && { persons: named }), more: isCut }, () => {
    for (const record of records) output.line(recordLine(record, persons.nameOf(record)));
    if (isCut) output.line(`there are more than ${limit}: --limit, --since, --until`);
    if (records.length === 0) output.line("no record answers that");
  });
}

/** By pseudonym; undefined where none of them is known to be anybody's, or nobody's any more. */
function namesIn(
  records: readonly SealedRecord[],
  persons: Persons,
): Readonly<Record<string, string>> | undefined {
  const names = records.flatMap((record) => {
    const name = persons.nameOf(record);
    return name !== undefined && "sp" in record ? [[record.sp as string, name] as const] : [];
  });
  return names.length === 0 ? undefined : Object.fromEntries(names);
}

function* batches(
  place: LogPlace,
  size: number,
  { request }: QueryOptions,
  progress: (text: string) => void,
): Generator<readonly SealedRecord[]> {
  if (request !== undefined) {
    yield requestEntries(place, request, size).map(({ record }) => record);
    return;
  }
  let done = minimumOf(readerOf(place.dir));
  for (const entries of entriesFrom(place, { from: 0, size })) {
    done += entries.length;
    if (done % 16_384 === 0 || done === size) progress(bar(place.origin, done, size));
    yield entries.map(({ record }) => record);
  }
}

/** Entries that mention a request: where the index says, else by looking through what it leaves out. */
export function requestEntries(place: LogPlace, request: string, size: number): readonly Entry[] {
  if (!REQUEST_ID.test(request)) {
    throw new CommandError(`${request} is not the UUIDv7 of an x-request-id header`, 2);
  }
  const { leaves, uncovered } = indexedLeaves(place.dir, request, { from: 0, to: size });
  const named = leaves.flatMap((leaf) => entryAt(place, leaf, size) ?? []);
  const found = named.filter(({ record }) => mentions(record, request));
  for (const { first, leaves: count } of uncovered) {
    const end = Math.min(first + count, size);
    for (const entries of entriesFrom(place, { from: first, size: end })) {
      found.push(...entries.filter(({ record }) => mentions(record, request)));
    }
  }
  if (found.length > 0 || uncovered.length > 0) return found;
  // The index is not believed when it says that there is nothing.
  return [...entriesFrom(place, { from: 0, size })].flatMap((entries) =>
    entries.filter(({ record }) => mentions(record, request)),
  );
}

function mentions(record: SealedRecord, request: string): boolean {
  if (record.k === "flood") return record.first === request || record.last === request;
  return "rid" in record && record.rid === request;
}

function wantedBy(options: QueryOptions, persons: Persons): Wanted {
  const tests: Wanted[] = [];
  const { agent, reason, kind, denied, scope, operator } = options;
  if (agent !== undefined) {
    if (parseAgentId(agent) === undefined)
      throw new CommandError(`--agent ${agent}: expected team/agent`, 2);
    tests.push((record) => "ag" in record && (record.ag?.endsWith(`/agent/${agent}`) ?? false));
  }
  if (reason !== undefined) tests.push((record) => "rc" in record && record.rc === reason);
  if (kind !== undefined) tests.push(({ k }) => k === kind);
  if (scope !== undefined) tests.push((record) => "scope" in record && record.scope === scope);
  if (operator !== undefined) tests.push((one) => "who" in one && one.who === operator);
  if (options.person !== undefined) {
    const theirs = persons.pseudonymsOf(options.person);
    if (theirs.size === 0) throw new CommandError(`no key of ${options.person} is kept here`);
    tests.push((one) => "sp" in one && one.sp !== undefined && theirs.has(one.sp));
  }
  if (denied === true) {
    tests.push(isRefusal);
  }
  if (options.stage !== undefined) {
    const stage = countOf("--stage", options.stage, 0);
    tests.push((record) => "st" in record && record.st === stage);
  }
  const since = timeOf("--since", options.since);
  if (since !== undefined) tests.push(({ t }) => t >= since);
  const until = timeOf("--until", options.until);
  if (until !== undefined) tests.push(({ t }) => t < until);
  return (record) => tests.every((test) => test(record));
}

function isRefusal(record: SealedRecord): boolean {
  if (record.k === "call") return record.rc !== "ok";
  return record.k === "flood" || (record.k === "decision" && record.dec === "deny");
}

function timeOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) {
    throw new CommandError(`${flag} ${text}: expected a time such as 2026-11-28T09:00:00Z`, 2);
  }
  return ms;
}

function countOf(flag: string, text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault;
  if (!/^[1-9][0-9]{0,6}$/.test(text)) {
    throw new CommandError(`${flag} ${text}: expected a whole number above 0`, 2);
  }
  return Number(text);
}

/** One line for people: when, what, who, why; and on whose behalf, where that is to be said. */
export function recordLine(record: SealedRecord, person?: string): string {
  const { v: _v, t, seq, k, node, ep: _ep, ...rest } = record;
  const agent = "ag" in rest ? rest.ag : undefined;
  const said: Record<string, unknown> = { ...rest };
  for (const member of ["ag", "pol", "tb", "kid", "sv", "in", "lat_us"]) delete said[member];
  const members = Object.entries(said).map(
    ([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`,
  );
  const who = agent?.replace(/^spiffe:\/\/[^/]+\/agent\//, "");
  if (person !== undefined) members.push(`person=${person}`);
  return [String(seq).padStart(8), new Date(t).toISOString(), node, k, who, ...members]
    .filter((part) => part !== undefined)
    .join("  ");
}

function silent(): void {}
