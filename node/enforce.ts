import { answerDelegation } from "./answer-delegation.ts";
import { answerLocally } from "./answer-locally.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import { SessionExchange } from "./dataplane/tunnel/session-exchange.ts";
import { decide } from "./decision/decide.ts";
import { factsNow, gatherBody, gatherHead, letGo } from "./gather.ts";
import { hold } from "./hold.ts";
import type { LoopContext } from "./loop-context.ts";
import { passSession } from "./pass-session.ts";
import { refuse } from "./refuse.ts";
import { relayAndSettle } from "./relay-and-settle.ts";

/**
 * The life of a request.
 *
 * The listener has registered the exchange before this is called, so a kill that lands anywhere in
 * here finds it. Gathering waits; deciding and committing do not, and both look at the cells again.
 */
export async function enforce(exchange: Exchange, loop: LoopContext): Promise<void> {
  // Waited for in any case: what has come of the body with the head is read in the meantime.
  const asked = await gatherHead(exchange, loop);
  try {
    const atHead = factsNow(asked, loop, "head");
    const headVerdict = decide(atHead);
    if (headVerdict.refusal !== undefined) return refuse(asked, atHead, headVerdict, loop);

    const body = gatherBody(asked, loop);
    if (body instanceof Promise) await body;

    const holding = hold(asked, loop);
    const held = holding instanceof Promise ? await holding : holding;
    if ("refused" in held) return refuse(asked, held.facts, held.refused, loop);
    if ("local" in held && asked.delegation !== undefined) {
      return await answerDelegation(asked, held.facts, loop);
    }
    if ("local" in held) return answerLocally(asked, held, loop);

    if (exchange instanceof SessionExchange) return await passSession(asked, exchange, held, loop);
    await relayAndSettle(asked, held, loop);
  } finally {
    letGo(asked, loop);
  }
}
