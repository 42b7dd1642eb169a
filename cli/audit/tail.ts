import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { ocsfEvent } from "../../audit/ocsf.ts";
import type { SealedRecord } from "../../audit/record.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { entriesFrom, sizeOf } from "./entries.ts";
import { type LogPlace, logsBelow, nodeLogFolder } from "./log-place.ts";
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
};

/**
 * `altrace audit tail`: the newest records of the log, and with `--follow` each new one as soon as a
 * checkpoint covers it. With `--json` one record a line, for log shippers; `--from` goes on where the
 * last one stopped (`seq` + 1), so that a shipper that was restarted neither loses nor repeats one.
 */
export async function tailLog(
  context: CommandContext,
  options: TailOptions,
  until: Promise<unknown>,
): Promise<void> {
  const place = newestLog(options.offline ?? nodeLogFolder(context.home));
  let size = sizeOf(place);
  let next = firstLeaf(options, size);
  let isEnded = false;
  void until.then(() => {
    isEnded = true;
  });
  for (;;) {
    for (const entries of entriesFrom(place, { from: next, size })) {
      for (const { record } of entries) {
        show(context, record, options.ocsf === true);
      }
      // Writing waits for a slow reader; here a signal to end is heard.
      await nextTurn();
      if (isEnded) return;
    }
    next = Math.max(next, size);
    if (options.follow !== true || isEnded) return;
    await Promise.race([pause(LOOK_EVERY_MS), until]);
    size = sizeOf(place);
    if (size < next) throw new CommandError(`${place.origin}: the log became shorter`);
  }
}

/** As an event, what is none is left out. */
function show({ output }: CommandContext, record: SealedRecord, isOcsf: boolean): void {
  if (!isOcsf) {
    output.result(record, () => output.line(recordLine(record)));
    return;
  }
  const event = ocsfEvent(record);
  if (event !== undefined) output.result(event, () => output.line(JSON.stringify(event)));
}

function firstLeaf({ lines, from }: TailOptions, size: number): number {
  if (from !== undefined) return numberOf("--from", from);
  return Math.max(0, size - numberOf("--lines", lines ?? String(LINES_DEFAULT)));
}

function numberOf(flag: string, text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw new CommandError(`${flag} ${text}: expected a whole number`, 2);
  }
  return Number(text);
}

/** The log of the highest epoch; only that one grows. */
function newestLog(folder: string): LogPlace {
  const epochOf = ({ origin }: LogPlace): number => Number(/e([0-9]+)$/.exec(origin)?.[1] ?? 0);
  const [newest] = logsBelow(folder).toSorted((a, b) => epochOf(b) - epochOf(a));
  if (newest === undefined) throw new CommandError(`${folder} holds no log`);
  return newest;
}
