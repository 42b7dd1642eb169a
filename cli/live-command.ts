import { systemClock } from "../adapters/system-clock.ts";
import { pause } from "../ports/pause.ts";
import type { CommandState, NodeProgress } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { nodeLine, summary } from "./command-words.ts";
import { type Output, table } from "./output.ts";

/** Often enough that a second is never skipped, and seldom enough to be read. */
const DRAW_EVERY_MS = 200;
/** Lines beside the nodes: the bar, the command's own, what was left out, the cursor's. */
const LINES_BESIDE = 4;

/**
 * Draws a command's way through the mesh anew until `signal` aborts, then takes the picture away.
 *
 * Time passes between two words of the coordinator: a silent node comes nearer to its containment.
 */
export async function drawCommand(
  output: Output,
  last: () => CommandState | undefined,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && output.terminal) {
    const command = last();
    if (command) output.block(liveLines(command, systemClock.nowMs(), output.size().rows));
    await pause(systemClock, DRAW_EVERY_MS, signal);
  }
  output.block([]);
}

/** The bar, and a line for each node: whoever is waited for comes first, as many as there is room. */
export function liveLines(command: CommandState, nowMs: number, height: number): string[] {
  const room = Math.max(1, height - LINES_BESIDE);
  const nodes = [...command.nodes].sort(
    (left, right) => Number(isDone(left)) - Number(isDone(right)),
  );
  const shown = nodes.slice(0, room);
  const left = nodes.slice(room);
  const rest = `  and ${left.length} more, ${left.filter(isDone).length} of them done`;
  return [
    command.scope,
    summary(command, true),
    ...(shown.length === 0
      ? []
      : table(shown.map((one) => nodeLine(command.scope, one, nowMs))).split("\n")),
    ...(left.length === 0 ? [] : [rest]),
  ];
}

export function isDone({ ack, contained }: NodeProgress): boolean {
  return contained || (ack !== undefined && (ack.refused !== "" || (ack.durable && ack.closed)));
}
