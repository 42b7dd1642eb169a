import { create } from "@bufbuild/protobuf";
import { RpcError } from "../../adapters/grpc-error.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import type { CommandState } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { KillSchema, ReviveSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { isKillScope, parseScope } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { nodeLines, summary } from "../command-words.ts";
import { agentDoubt } from "../known-agents.ts";
import { carrySigned } from "../operator-record.ts";
import { table } from "../output.ts";
import { followCommand } from "./follow-command.ts";

export type KillOptions = {
  readonly reason?: string;
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly dryRun?: boolean;
};

const TIMEOUT_S_DEFAULT = 60;

/** `altrace kill <scope>`: stops everything the scope covers, on every node. */
export async function kill(
  context: CommandContext,
  scope: string,
  options: KillOptions,
): Promise<void> {
  checkScope(scope);
  if (options.dryRun) return dryRun(context, scope, "kill");
  const { command } = await askKill(context, scope, options.reason ?? "");
  await tellCommand(context, command, options);
  // It is killed all the same: whoever is not known yet must not slip through.
  const [kind, ...name] = scope.split("/");
  const doubt = kind === "agent" ? await agentDoubt(context, name.join("/")) : "";
  if (doubt !== "") context.output.error(`note: ${doubt}`);
}

/** Whoever once stole a coordinator's key may have used up its numbers: then an operator signs. */
async function askKill(context: CommandContext, scope: string, reason: string) {
  const { calls } = context.coordinator();
  try {
    return await calls.kill({ scope, reason, operator: context.operatorName });
  } catch (error) {
    if (!(error instanceof RpcError) || error.reason !== "signer_not_allowed") throw error;
    const value = create(KillSchema, { reason });
    return carrySigned(context, scope, { case: "kill", value }, (record) =>
      calls.putKey({ record }),
    );
  }
}

/** `altrace revive <scope>`: undoes a kill; signed with the operator's key. */
export async function revive(
  context: CommandContext,
  scope: string,
  options: KillOptions,
): Promise<void> {
  checkScope(scope);
  if (options.dryRun) return dryRun(context, scope, "revive");
  const value = create(ReviveSchema, { reason: options.reason ?? "" });
  const { calls } = context.coordinator();
  const { command } = await carrySigned(context, scope, { case: "revive", value }, (record) =>
    calls.revive({ record }),
  );
  await tellCommand(context, command, options);
}

/** `altrace kills`: what is killed now. */
export async function kills(context: CommandContext): Promise<void> {
  const { kills: standing } = await context.coordinator().calls.listKills({});
  context.output.result({ kills: standing }, () => {
    if (standing.length === 0) return context.output.line("nothing is killed");
    const rows = standing.map((one) => [
      one.scope,
      new Date(Number(one.issuedAtMs)).toISOString(),
      one.operator,
      one.committed ? "committed" : "accepted here only",
      one.cause === "" ? one.reason : `${one.cause} ${one.reason}`,
    ]);
    context.output.line(table([["SCOPE", "SINCE", "BY", "STATE", "REASON"], ...rows]));
  });
}

/** Says what became of a command; with `--wait`, once every node has it or is contained. */
export async function tellCommand(
  context: CommandContext,
  command: CommandState | undefined,
  options: KillOptions,
): Promise<void> {
  if (command === undefined)
    throw new CommandError("the coordinator did not say what became of it");
  const timeoutMs = Number(options.timeout ?? TIMEOUT_S_DEFAULT) * 1_000;
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs <= 0) {
    throw new CommandError("--timeout: expected whole seconds", 2);
  }
  const final = options.wait ? await followCommand(context, command.cmdId, timeoutMs) : command;
  context.output.result({ command: final }, () => {
    context.output.line(summary(final, false));
    if (final.nodes.length > 0) context.output.line(nodeLines(final, systemClock.nowMs()));
    if (!options.wait) context.output.line(`command ${final.cmdId}`);
  });
}

/** Says what the record would be, and how many nodes it would reach. */
export async function dryRun(context: CommandContext, scope: string, verb: string): Promise<void> {
  const { calls } = context.coordinator();
  const [{ v }, { nodes }] = [await calls.getScope({ scope }), await calls.listNodes({})];
  const next = Number(v) + 1;
  context.output.result({ scope, verb, version: next, nodes: nodes.length }, () =>
    context.output.line(`would ${verb} ${scope} as version ${next} on ${nodes.length} node(s)`),
  );
}

function checkScope(text: string): void {
  const scope = parseScope(text);
  if (scope !== undefined && isKillScope(scope)) return;
  throw new CommandError(`${text}: expected global, team/<team> or agent/<team>/<agent>`, 2);
}
