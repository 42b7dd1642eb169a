import { formatUsdMicros } from "../../policy/money.ts";
import type { CommandContext } from "../command-context.ts";
import { table } from "../output.ts";

/** `altrace holds [filter]`: money held for requests under way on this node, and until when. */
export async function holds(context: CommandContext, filter: string): Promise<void> {
  const answer = await context.node().calls.listHolds({ filter });
  context.output.result(answer, () => {
    const rows = answer.holds.map((one) => [
      one.requestId,
      one.agent,
      one.model,
      formatUsdMicros(Number(one.amount?.usdMicros ?? 0n)),
      formatUsdMicros(Number(one.overrunUsdMicros)),
      String(one.amount?.tokens ?? 0n),
      new Date(Number(one.startedAtMs)).toISOString(),
      new Date(Number(one.deadlineMs)).toISOString(),
    ]);
    const head = ["REQUEST", "AGENT", "MODEL", "USD", "OVERRUN", "TOKENS", "SINCE", "UNTIL"];
    context.output.line(table([head, ...rows]));
  });
}
