import type { CommandContext } from "../command-context.ts";
import { table } from "../output.ts";

/** `altrace explain <request id>`: what the 14 stages said of one request. */
export async function explain(context: CommandContext, requestId: string): Promise<void> {
  const answer = await context.node().calls.explain({ requestId });
  const records = answer.records.map((text) => JSON.parse(text) as Record<string, unknown>);
  context.output.result({ ...answer, records }, () => {
    const { output } = context;
    output.line(`${requestId}  ${answer.allowed ? "allowed" : `refused: ${answer.reason}`}`);
    if (!answer.allowed) output.line(answer.operatorSentence);
    const rows = answer.rows.map(({ no, stage, asks, outcome, reason }) => [
      String(no).padStart(2),
      stage,
      outcome,
      reason === "" ? asks : `${asks} ${reason}`,
    ]);
    output.line(table(rows));
    for (const record of records) output.line(recordLine(record));
  });
}

function recordLine(record: Record<string, unknown>): string {
  const at = new Date(Number(record.t)).toISOString();
  const { k, ag, rc, act, settled, hold } = record;
  const parts = [at, k, ag, rc, act, hold && { hold }, settled && { settled }]
    .filter((part) => part !== undefined)
    .map((part) => (typeof part === "string" ? part : JSON.stringify(part)));
  return parts.join("  ");
}
