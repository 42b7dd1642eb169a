import { type ContractRefusal, refusalOf } from "../../authority/contract-refusal.ts";
import { type ChainEnv, chainSteps, type VerifiedChain } from "../../authority/verify-chain.ts";

/**
 * As `verifyChain`, one link a turn. Who is trusted is looked at once, at the beginning: whoever calls sees to it that
 * it was still so at the end.
 *
 * @param nextTurn Resolves in a later turn of the calling thread.
 */
export async function verifyChainInTurns(
  text: string,
  env: ChainEnv,
  nextTurn: () => Promise<unknown>,
): Promise<VerifiedChain | ContractRefusal> {
  try {
    const steps = chainSteps(text, env);
    let step = steps.next();
    for (; !step.done; step = steps.next()) await nextTurn();
    return step.value;
  } catch (error) {
    return refusalOf(error);
  }
}
