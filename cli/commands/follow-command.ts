import { RpcError } from "../../adapters/grpc-error.ts";
import type { CommandState } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { summary } from "../command-words.ts";
import { drawCommand, isDone } from "../live-command.ts";

/** Shows a command's way through the mesh until every node is durable and closed, or contained. */
export async function followCommand(
  context: CommandContext,
  cmdId: string,
  timeoutMs: number,
): Promise<CommandState> {
  const { calls } = context.coordinator();
  let last: CommandState | undefined;
  let shown = "";
  const drawing = new AbortController();
  const drawn = drawCommand(context.output, () => last, drawing.signal);
  try {
    for await (const { command } of calls.watchCommand({ cmdId }, { timeoutMs })) {
      if (command === undefined) continue;
      last = command;
      const text = summary(command, false);
      // The caller says the end.
      const isNews = text !== shown && !command.done;
      if (isNews && !context.output.terminal) context.output.progress(text);
      shown = text;
    }
    // The coordinator ends the stream once the command is done.
    if (last?.done) return last;
  } catch (error) {
    if (!(error instanceof RpcError) || error.code !== "DEADLINE_EXCEEDED") throw error;
  } finally {
    drawing.abort();
    await drawn;
  }
  throw new CommandError(
    last === undefined
      ? `command ${cmdId}: the coordinator said nothing`
      : `command ${cmdId} did not reach every node in time: ${summary(last, false)}${waitedFor(last)}`,
  );
}

function waitedFor({ nodes }: CommandState): string {
  const left = nodes.filter((one) => !isDone(one)).map(({ node }) => node);
  return left.length === 0 ? "" : `; waited for ${left.join(", ")}`;
}
