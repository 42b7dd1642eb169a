import { RpcError } from "../../adapters/grpc-error.ts";
import type { CommandState } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { table } from "../output.ts";

const NS_PER_MS = 1e6;
const BAR_CELLS = 20;

/** Shows a command's way through the mesh until every node is durable and closed, or contained. */
export async function followCommand(
  context: CommandContext,
  cmdId: string,
  timeoutMs: number,
): Promise<CommandState> {
  const { calls } = context.coordinator();
  let last: CommandState | undefined;
  let shown = "";
  try {
    for await (const { command } of calls.watchCommand({ cmdId }, { timeoutMs })) {
      if (command === undefined) continue;
      last = command;
      const text = summary(command, context.output.terminal);
      if (text !== shown) context.output.progress(text);
      shown = text;
    }
    // The coordinator ends the stream once the command is done.
    if (last?.done) return last;
  } catch (error) {
    if (!(error instanceof RpcError) || error.code !== "DEADLINE_EXCEEDED") throw error;
  }
  throw new CommandError(
    last === undefined
      ? `command ${cmdId}: the coordinator said nothing`
      : `command ${cmdId} did not reach every node in time: ${summary(last, false)}`,
  );
}

/** k of N for each step, as an operator reads it. */
export function summary(command: CommandState, bar: boolean): string {
  const { nodesTotal: total } = command;
  const of = (count: number) => `${count}/${total}`;
  const done = command.nodesDurable + command.nodesContained;
  const cells = total === 0 ? 0 : Math.round((Math.min(done, total) / total) * BAR_CELLS);
  return [
    bar ? `[${"#".repeat(cells).padEnd(BAR_CELLS, ".")}]` : command.scope,
    command.committed ? "committed" : command.accepted ? "accepted" : "pending",
    `enforced ${of(command.nodesEnforced)}`,
    `closed ${of(command.nodesClosed)}`,
    `durable ${of(command.nodesDurable)}`,
    ...(command.nodesContained > 0 ? [`contained ${of(command.nodesContained)}`] : []),
  ].join("  ");
}

/** One line a node, with its own times; for a silent one, when its dead-man switch closes it. */
export function nodeLines(command: CommandState): string {
  const rows = command.nodes.map(({ node, ack, contained, containedAtMs }) => {
    if (ack === undefined) {
      const at = containedAtMs === 0n ? "waiting" : new Date(Number(containedAtMs)).toISOString();
      return [`  ${node}`, contained ? "contained since" : "silent, contained by", at, "", ""];
    }
    if (ack.refused !== "") return [`  ${node}`, "refused", ack.refused, "", ""];
    return [
      `  ${node}`,
      `enforced ${ms(ack.enforcedNs)}`,
      ack.closed ? `closed ${ack.closedCount} in ${ms(ack.closedNs)}` : "closing",
      ack.durable ? `durable ${ms(ack.durableNs)}` : "not yet durable",
      ack.hostStallNs > 0n ? `host stall ${ms(ack.hostStallNs)}` : "",
    ];
  });
  return table(rows);
}

function ms(ns: bigint): string {
  return `${(Number(ns) / NS_PER_MS).toFixed(2)} ms`;
}
