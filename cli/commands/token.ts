import { nodeNameOf } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";

const TTL_MS = 3_600_000n;

/** `altrace token <node>`: a token with which a node of that name, or machine of it, enrols, once, within an hour. */
export async function issueToken(context: CommandContext, machine: string): Promise<void> {
  const node = nodeNameOf(machine);
  if (node === undefined) throw new CommandError(`${machine}: expected a node's name`, 2);
  const { calls } = context.coordinator();
  const { token } = await calls.createEnrolmentToken({ node, ttlMs: TTL_MS });
  context.output.result({ node, token }, () => context.output.line(token));
}
