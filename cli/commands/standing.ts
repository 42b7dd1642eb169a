import { existsSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { RpcError } from "../../adapters/grpc-error.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import type { MeshAgent } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { GetStandingResponse } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { ReviveSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseAgentId } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { agentDoubt } from "../known-agents.ts";
import { carrySigned } from "../operator-record.ts";
import { meshLines, standingLines } from "../standing-words.ts";
import { dryRun, type KillOptions, tellCommand } from "./kill.ts";

const SILENT: ReadonlySet<string> = new Set(["agent_unknown", "not_leader"]);

export type StandingOptions = KillOptions & { readonly lift?: boolean };

/** `altrace standing <agent>`: why it stands where it does, and what would lift it. */
export async function standing(
  context: CommandContext,
  agent: string,
  options: StandingOptions,
): Promise<void> {
  if (parseAgentId(agent) === undefined) {
    throw new CommandError(`${agent}: expected <team>/<agent>`, 2);
  }
  if (options.lift === true) return lift(context, agent, options);
  const [node, mesh] = await Promise.all([onNode(context, agent), overMesh(context, agent)]);
  if (node === undefined && mesh === undefined) {
    const doubt = await agentDoubt(context, agent);
    const says =
      doubt === "" ? `no node and no coordinator of ${context.home} knows ${agent}` : doubt;
    throw new CommandError(says);
  }
  context.output.result({ node, mesh }, () => {
    if (node)
      for (const line of standingLines(node, systemClock.nowMs())) context.output.line(line);
    if (node && mesh) context.output.line("");
    if (mesh) for (const line of meshLines(mesh)) context.output.line(line);
  });
}

/**
 * Takes an agent's score and its level away, on every node: a revive record that an operator signs.
 *
 * It undoes no kill: that is `altrace revive`, said by its name.
 */
async function lift(context: CommandContext, agent: string, options: StandingOptions) {
  const scope = `agent/${agent}`;
  if (options.dryRun) return dryRun(context, scope, "lift the standing of");
  const { calls } = context.coordinator();
  const mustNotBeKilled = (op: string | undefined) => {
    if (op !== "kill") return;
    throw new CommandError(`${agent} is killed; its kill is undone by: altrace revive ${scope}`);
  };
  const value = create(ReviveSchema, { reason: options.reason ?? "standing lifted" });
  const { command } = await carrySigned(
    context,
    scope,
    { case: "revive", value },
    (record) => calls.revive({ record }),
    mustNotBeKilled,
  );
  await tellCommand(context, command, options);
}

/** Undefined: there is no node in this HOME, or it does not know the agent. */
async function onNode(
  context: CommandContext,
  agent: string,
): Promise<GetStandingResponse | undefined> {
  if (!existsSync(context.nodeSocket)) return undefined;
  return unlessUnknown(context.node().calls.getStanding({ agent }));
}

async function overMesh(context: CommandContext, agent: string): Promise<MeshAgent | undefined> {
  if (!context.hasCoordinator()) return undefined;
  const answer = await unlessUnknown(context.coordinator().calls.getAgent({ agent }));
  return answer?.agent;
}

async function unlessUnknown<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    // Of several coordinators the one that leads the ledger knows; the node's own view stands without.
    const isSilent = error instanceof RpcError && SILENT.has(error.reason);
    if (isSilent) return undefined;
    throw error;
  }
}
