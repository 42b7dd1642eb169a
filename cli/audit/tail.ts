import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { ocsfEvent } from "../../audit/ocsf.ts";
import type { SealedRecord } from "../../audit/record.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { entriesFrom, sizeOf } from "./entries.ts";
import { Erasures } from "./erasures.ts";
import { type LogPlace, logsBelow, nodeLogFolder } from "./log-place.ts";
import { Persons } from "./persons.ts";
import { recordLine } from "./query.ts";

/** How often a log that is followed is looked at, ms. A checkpoint is signed once a second. */
const LOOK_EVERY_MS = 200;
const LINES_DEFAULT = 20;

export type TailOptions = {
  readonly offline?: string;
  readonly lines?: string;
  readonly from?: string;
  readonly follow?: boolean;
  readonly ocsf?: boolean;
  readonly persons?: boolean;
};

/**
 * `altrace audit tail`: the newest records of the log, and with `--follow` each new one as soon as a
 * checkpoint covers it. With `--json` one record a line, for log shippers; `--from` goes on where the
 * last one stopped (`ep`/`seq` + 1), so that a shipper that was restarted neither loses nor repeats one. A log
 * that was ended is followed by the next one.
 */
export async function tailLog(
  context: CommandContext,
  options: TailOptions,
  until: Promise<unknown>,
): Promise<void> {
  const folder = options.offline ?? nodeLogFolder(context.home);
  const isNamed = options.persons === true;
  const erasures = new Erasures(context.home, folder);
  let { place, next } = beginning(folder, options);
  let isEnded = false;
  void until.then(() => {
    isEnded = true;
  });
  for (;;) {
    // Asked first: once there is another log, this one does not grow any more.
    const following = logAfter(folder, place);
    const size = sizeOf(place);
    // Keys are made and erased while it is followed, and of those that a backup brought back the log tells.
    const persons = new Persons(context.home, { isNamed, erasures });
    if (isNamed) erasures.catchUp();
    if (size < next) throw new CommandError(`${place.origin}: the log became shorter`);
    for (const entries of entriesFrom(place, { from: next, size })) {
      for (const { record } of entries) {
        erasures.note(record);
        show(context, record, { isOcsf: options.ocsf === true, person: persons.nameOf(record) });
      }
      // Writing waits for a slow reader; here a signal to end is heard.
      await nextTurn();
      if (isEnded) return;
    }
    next = size;
    if (following !== undefined) {
      place = following;
      next = 0;
      continue;
    }
    if (options.follow !== true || isEnded) return;
    await Promise.race([pause(LOOK_EVERY_MS), until]);
  }
}

/** As an event, what is none is left out. */
function show(
  { output }: CommandContext,
  record: SealedRecord,
  { isOcsf, person }: { readonly isOcsf: boolean; readonly person: string | undefined },
): void {
  if (!isOcsf) {
    output.result(record, () => output.line(recordLine(record, person)));
    return;
  }
  const event = ocsfEvent(record, person);
  if (event !== undefined) output.result(event, () => output.line(JSON.stringify(event)));
}

/** Where it begins: `--from` names a leaf of the newest log, or of the log of an epoch. */
function beginning(
  folder: string,
  { lines, from }: TailOptions,
): { readonly place: LogPlace; readonly next: number } {
  if (from === undefined) {
    const place = newestLog(folder);
    const count = numberOf("--lines", lines ?? String(LINES_DEFAULT));
    return { place, next: Math.max(0, sizeOf(place) - count) };
  }
  const [first = "", leaf] = from.split("/", 2);
  if (leaf === undefined) return { place: newestLog(folder), next: numberOf("--from", first) };
  const epoch = numberOf("--from", first);
  const place = logsBelow(folder).find((one) => epochOf(one) === epoch);
  if (place === undefined) throw new CommandError(`--from ${from}: there is no log e${epoch}`, 2);
  return { place, next: numberOf("--from", leaf) };
}

function numberOf(flag: string, text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw new CommandError(`${flag} ${text}: expected a whole number`, 2);
  }
  return Number(text);
}

/** The log of the highest epoch; only that one grows. */
function newestLog(folder: string): LogPlace {
  const [newest] = logsBelow(folder).toSorted((a, b) => epochOf(b) - epochOf(a));
  if (newest === undefined) throw new CommandError(`${folder} holds no log`);
  return newest;
}

/** The same node's log of the next epoch that there is. */
function logAfter(folder: string, { origin }: LogPlace): LogPlace | undefined {
  const epoch = epochOf({ origin });
  const ofNode = origin.replace(/e[0-9]+$/, "");
  return logsBelow(folder)
    .filter((one) => one.origin.replace(/e[0-9]+$/, "") === ofNode && epochOf(one) > epoch)
    .toSorted((a, b) => epochOf(a) - epochOf(b))[0];
}

function epochOf({ origin }: Pick<LogPlace, "origin">): number {
  return Number(/e([0-9]+)$/.exec(origin)?.[1] ?? 0);
}
