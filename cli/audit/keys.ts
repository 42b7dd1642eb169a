import { encodeVkey } from "../../audit/signed-note.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { logsBelow, nodeLogFolder, ownKeys } from "./log-place.ts";

/**
 * `altrace audit keys`: the public keys of this node's logs, as `--keys` takes them. Kept where the node
 * cannot write, they are what a log is held against later.
 */
export function printKeys(context: CommandContext): void {
  const { output } = context;
  const folder = nodeLogFolder(context.home);
  const vkeys = ownKeys(context.home, logsBelow(folder)).map(encodeVkey);
  if (vkeys.length === 0) throw new CommandError(`${folder} holds no log whose key is here`);
  output.result({ logs: vkeys }, () => {
    for (const vkey of vkeys) output.line(vkey);
  });
}
