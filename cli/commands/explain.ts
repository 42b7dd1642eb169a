import { writeAuthority } from "../../authority/authority-json.ts";
import { readClaims } from "../../authority/claims.ts";
import { orRefusal } from "../../authority/contract-refusal.ts";
import { readEnvelope } from "../../authority/token.ts";
import { LINK_SEPARATOR } from "../../authority/verify-chain.ts";
import type { CommandContext } from "../command-context.ts";
import { table } from "../output.ts";

/** `altrace explain <request id>`: what the 14 stages said of one request. */
export async function explain(context: CommandContext, requestId: string): Promise<void> {
  const answer = await context.node().calls.explain({ requestId });
  const records = answer.records.map((text) => JSON.parse(text) as Record<string, unknown>);
  const contract = await contractOf(context, records);
  context.output.result({ ...answer, records, ...(contract !== undefined && { contract }) }, () => {
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
    for (const link of contract?.chain ?? []) {
      output.line(
        `${"  ".repeat(link.depth)}granted to ${link.agent} by ${link.by}: ${link.contract}`,
      );
      output.line(`${"  ".repeat(link.depth)}  ${JSON.stringify(link.granted)}`);
    }
    for (const record of records) output.line(recordLine(record));
  });
}

/** The contract that a request ran under, and who granted what on the way down to it. */
async function contractOf(
  context: CommandContext,
  records: readonly Record<string, unknown>[],
): Promise<ExplainedContract | undefined> {
  const ref = records.find(({ c }) => c !== undefined)?.c as
    | { readonly id: string; readonly root: string; readonly d: number }
    | undefined;
  if (ref === undefined) return undefined;
  const { contracts } = await context.coordinator().calls.listContracts({ contract: ref.root });
  const own = contracts.find(({ contract }) => contract === ref.id);
  const chain = own === undefined ? [] : linksOf(own.chain);
  return { id: ref.id, root: ref.root, depth: ref.d, chain };
}

type ExplainedContract = {
  readonly id: string;
  readonly root: string;
  readonly depth: number;
  /** Root first; empty where the coordinator has forgotten the contract by now. */
  readonly chain: readonly ExplainedLink[];
};

type ExplainedLink = {
  readonly contract: string;
  readonly depth: number;
  readonly agent: string;
  /** The agent that delegated, or the operator on whose behalf the root is. */
  readonly by: string;
  readonly granted: unknown;
};

function linksOf(chain: string): readonly ExplainedLink[] {
  const links: ExplainedLink[] = [];
  for (const token of chain.split(LINK_SEPARATOR)) {
    const read = orRefusal(() => {
      const { id, payload } = readEnvelope(token);
      return { id, claims: readClaims(payload) };
    });
    if ("refused" in read) break;
    const { depth, agent, subject, authority } = read.claims;
    const by = links.at(-1)?.agent ?? subject;
    const { notBefore, expires } = authority.validity;
    const granted = { ...writeAuthority(authority), nbf: notBefore, exp: expires };
    links.push({ contract: read.id, depth, agent, by, granted });
  }
  return links;
}

function recordLine(record: Record<string, unknown>): string {
  const at = new Date(Number(record.t)).toISOString();
  const { k, ag, rc, act, settled, hold } = record;
  const parts = [at, k, ag, rc, act, hold && { hold }, settled && { settled }]
    .filter((part) => part !== undefined)
    .map((part) => (typeof part === "string" ? part : JSON.stringify(part)));
  return parts.join("  ");
}
