import { systemClock } from "../../adapters/system-clock.ts";
import { pause } from "../../ports/pause.ts";
import type { GetNodeResponse } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { AgentBoard, type BoardRow, isQuiet } from "../agent-board.ts";
import { boardLine, boardLines } from "../board-words.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import type { Output } from "../output.ts";
import { standingWord } from "../standing-words.ts";

export type TopOptions = { readonly interval?: string; readonly count?: string };

const INTERVAL_S = { least: 0.2, most: 3_600 };
const NODE_TIMEOUT_MS = 1_000;

/**
 * `altrace top`: who does what on this node now.
 *
 * A terminal shows one picture that is drawn anew; anything else gets a line for each agent that
 * changed or does something, and with `--json` an object.
 */
export async function top(
  context: CommandContext,
  filter: string,
  options: TopOptions & { readonly untilSignal: Promise<string> },
): Promise<void> {
  const intervalMs = secondsOf(options.interval ?? "1") * 1_000;
  const count = countOf(options.count);
  const { calls } = context.node();
  const board = new AgentBoard();
  const ended = new AbortController();
  void options.untilSignal.then(() => ended.abort());
  const allTold = Promise.withResolvers<void>();
  const watching = watch(context, board, {
    filter,
    signal: ended.signal,
    onAllTold: allTold.resolve,
  });
  const seen = new Map<string, string>();
  // So that the first picture has everybody in it.
  await Promise.race([allTold.promise, watching]);
  for (let frame = 1; !ended.signal.aborted; frame += 1) {
    const node = context.output.terminal
      ? await calls.getNode({}, { timeoutMs: NODE_TIMEOUT_MS }).catch(() => undefined)
      : undefined;
    show(context.output, board.tick(systemClock.nowMs()), { node, seen });
    if (count !== undefined && frame >= count) break;
    await Promise.race([pause(systemClock, intervalMs, ended.signal), watching]);
  }
  ended.abort();
  await watching;
}

/** Rejects when the node ends the watch; resolves once it was ended from here. */
async function watch(
  context: CommandContext,
  board: AgentBoard,
  of: { readonly filter: string; readonly signal: AbortSignal; readonly onAllTold: () => void },
): Promise<void> {
  const { filter, signal } = of;
  const { calls } = context.node();
  try {
    for await (const said of calls.watchAgents({ filter }, { signal })) {
      if (said.allTold) of.onAllTold();
      else board.take(said);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (!signal.aborted) throw new CommandError("the node has ended the watch");
}

function show(
  output: Output,
  rows: readonly BoardRow[],
  of: { readonly node: GetNodeResponse | undefined; readonly seen: Map<string, string> },
): void {
  if (output.terminal) {
    output.block(boardLines(rows, of.node, { rows: output.size().rows, color: output.color }));
    return;
  }
  const at = new Date(systemClock.nowMs()).toISOString();
  for (const row of rows) {
    const text = boardLine(row);
    const isNews = of.seen.get(row.agent) !== text || !isQuiet(row);
    of.seen.set(row.agent, text);
    if (!isNews) continue;
    const value = { at, ...row, standing: standingWord(row.standing) };
    output.result(value, () => output.line(`${at} ${text}`));
  }
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (seconds >= INTERVAL_S.least && seconds <= INTERVAL_S.most) return seconds;
  throw new CommandError(`--interval: ${INTERVAL_S.least} to ${INTERVAL_S.most} seconds`, 2);
}

function countOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new CommandError("--count: expected a whole number of pictures", 2);
}
