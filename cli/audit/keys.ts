import { encodeVkey } from "../../audit/signed-note.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { chosenFolder, type LogChoice, logsBelow, ownKeys } from "./log-place.ts";

/**
 * `altrace audit keys`: the public keys of this node's logs, or of the coordinator's own, as `--keys` takes
 * them. Kept where neither can write, they are what a log is held against later.
 */
export function printKeys(context: CommandContext, { own }: Pick<LogChoice, "own">): void {
  const { output, home } = context;
  const folder = chosenFolder(home, own === true ? { own } : {});
  const vkeys = ownKeys(home, logsBelow(folder)).map(encodeVkey);
  if (vkeys.length === 0) throw new CommandError(`${folder} holds no log whose key is here`);
  output.result({ logs: vkeys }, () => {
    for (const vkey of vkeys) output.line(vkey);
  });
}
