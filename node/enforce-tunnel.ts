import { decisionHeaders } from "./dataplane/response-headers.ts";
import { readHello } from "./dataplane/tunnel/read-hello.ts";
import type { TunnelExchange } from "./dataplane/tunnel/tunnel-exchange.ts";
import { decide } from "./decision/decide.ts";
import { resolveDestination } from "./destination.ts";
import { factsNow, letGo } from "./gather.ts";
import { type AskedTunnel, gatherTunnel } from "./gather-tunnel.ts";
import { helloObjection } from "./hello-objection.ts";
import { type HeldTunnel, holdTunnel } from "./hold-tunnel.ts";
import type { LoopContext } from "./loop-context.ts";
import { passAndSettle, settleUnopened } from "./pass-and-settle.ts";
import { refuse } from "./refuse.ts";

/**
 * The life of a tunnel: what `enforce` is for a request.
 *
 * It was registered before this is called. The far side is dialled only once the client's first words
 * name the host that was allowed; until then no one outside hears of it.
 */
export async function enforceTunnel(tunnel: TunnelExchange, loop: LoopContext): Promise<void> {
  const asked = await gatherTunnel(tunnel, loop);
  try {
    const atHead = factsNow(asked, loop, "head");
    const headVerdict = decide(atHead);
    if (headVerdict.refusal !== undefined) return refuse(asked, atHead, headVerdict, loop);

    await resolveDestination(asked.destination, factsNow(asked, loop, "full"), loop);

    const held = await holdTunnel(asked, loop);
    if ("refused" in held) return refuse(asked, held.facts, held.refused, loop);

    await greetAndPass(asked, held, loop);
  } finally {
    letGo(asked, loop);
  }
}

async function greetAndPass(
  asked: AskedTunnel,
  held: HeldTunnel,
  loop: LoopContext,
): Promise<void> {
  const { exchange: tunnel } = asked;
  const { requestId, standing } = held.facts;
  tunnel.establish(decisionHeaders({ requestId, refusal: undefined, standing }));
  const read = await readHello(tunnel.socket, { first: tunnel.takeFirst(), clock: loop.clock });
  const objection = helloObjection(read, tunnel.target.host);
  if (objection !== undefined || "flaw" in read) {
    settleUnopened(asked, held, tunnel.cutReason ?? objection ?? "tls_malformed", loop);
    return;
  }
  await passAndSettle(asked, held, read, loop);
}
