import { type LogPolicy, parseLogPolicy } from "../../audit/log-policy.ts";
import { parseVkey, type VerifierKey } from "../../audit/signed-note.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import type { CheckpointFile } from "./log-place.ts";

export type KnownLogs = {
  readonly policy: LogPolicy;
  /** The operator's file of witnesses outside of the mesh, where there is one: it is in `policy` too. */
  readonly outside: LogPolicy | undefined;
  readonly checkpoints: readonly CheckpointFile[];
};

/**
 * Every log that must exist as the coordinator knows them: keys, and what it cosigned last. The path of
 * a checkpoint is the log's origin.
 */
export async function knownLogs(context: CommandContext): Promise<KnownLogs> {
  const answer = await context.coordinator().calls.listLogs({});
  const keyOf = (text: string): VerifierKey => {
    const key = parseVkey(text);
    if (!key.ok) throw new CommandError(`the coordinator's list: ${key.flaw}: ${text}`);
    return key.value;
  };
  const logs = answer.logs.map(({ vkey }) => keyOf(vkey));
  const checkpoints = answer.logs.flatMap(({ origin, checkpoint }) =>
    checkpoint === "" ? [] : [{ path: origin, bytes: Buffer.from(checkpoint, "utf8") }],
  );
  const outside = outsideOf(answer.outsidePolicy);
  const witnesses = [keyOf(answer.witnessVkey), ...(outside?.witnesses ?? [])];
  return { policy: { logs, witnesses, quorum: outside?.quorum }, outside, checkpoints };
}

function outsideOf(text: string): LogPolicy | undefined {
  if (text === "") return undefined;
  const outside = parseLogPolicy(Buffer.from(text, "utf8"));
  if (outside.ok) return outside.value;
  throw new CommandError(`the coordinator's witnesses: ${outside.flaw}: ${outside.detail}`);
}
