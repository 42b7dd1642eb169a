import { RpcError } from "../adapters/grpc-error.ts";
import { didYouMean } from "../policy/suggestion.ts";
import type { CommandContext } from "./command-context.ts";

const PAGE_SIZE = 1_000;

/**
 * What to say of an agent's name that a command was given: nothing when it is known or nobody can
 * tell, else that it is not, and which one may have been meant.
 */
export async function agentDoubt(context: CommandContext, agent: string): Promise<string> {
  if (!context.hasCoordinator()) return "";
  const { calls } = context.coordinator();
  try {
    const { agents } = await calls.listAgents({ pageSize: PAGE_SIZE });
    const names = agents.map((one) => one.agent);
    // Of more than a page the rest is not looked through: a doubt must not be wrong.
    if (names.includes(agent) || names.length === PAGE_SIZE) return "";
    return `no agent ${agent} is known here${didYouMean(agent, names)}`;
  } catch (error) {
    if (error instanceof RpcError) return "";
    throw error;
  }
}
