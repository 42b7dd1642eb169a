import { systemClock } from "../../adapters/system-clock.ts";
import { formatUsdMicros } from "../../policy/money.ts";
import type { AgentState } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import type { CommandContext } from "../command-context.ts";
import { nodeStateWord } from "../command-words.ts";
import { table } from "../output.ts";
import { standingWord } from "../standing-words.ts";

/** `altrace agents [filter]`: where each agent of this node stands. */
export async function agents(context: CommandContext, filter: string): Promise<void> {
  const { calls } = context.node();
  const listed: AgentState[] = [];
  let pageToken = "";
  do {
    const page = await calls.listAgents({ filter, pageToken, pageSize: 1_000 });
    listed.push(...page.agents);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  context.output.result({ agents: listed }, () => {
    const rows = listed.map((one) => [
      one.agent,
      standingWord(one.standing),
      one.killedBy.join(","),
      usd(one.spent?.usdMicros),
      usd(one.available?.usdMicros),
      String(one.allowed),
      String(one.refused),
    ]);
    const head = ["AGENT", "STANDING", "KILLED BY", "SPENT", "LENT", "ALLOWED", "REFUSED"];
    context.output.line(table([head, ...rows]));
  });
}

/** `altrace agent <team/agent>`: one agent in full. */
export async function agent(context: CommandContext, id: string): Promise<void> {
  const answer = await context.node().calls.getAgent({ agent: id });
  context.output.result(answer, () => {
    const { agent: state, connections, holds, lastDecisions } = answer;
    if (state === undefined) return;
    context.output.line(
      table([
        ["agent", state.agent],
        ["standing", `${standingWord(state.standing)} (${state.standingCause})`],
        ["killed by", state.killedBy.join(", ") || "nothing"],
        ["leased", `$${usd(state.leased?.usdMicros)}`],
        ["spent", `$${usd(state.spent?.usdMicros)}`],
        ["unheld here", `$${usd(state.available?.usdMicros)}`],
        ["connections", String(connections.length)],
        ["holds", String(holds.length)],
      ]),
    );
    for (const decision of lastDecisions) {
      const at = new Date(Number(decision.atMs)).toISOString();
      const word = decision.allowed ? "allow" : `deny ${decision.stage} ${decision.reason}`;
      context.output.line(`  ${at}  ${decision.requestId}  ${word}`);
    }
  });
}

/** `altrace nodes`: which nodes there are, and whether they hear us. */
export async function nodes(context: CommandContext): Promise<void> {
  const { nodes: listed } = await context.coordinator().calls.listNodes({});
  context.output.result({ nodes: listed }, () => {
    const rows = listed.map((one) => [
      one.node,
      one.live ? "live" : "silent",
      nodeStateWord(one, systemClock.nowMs()),
      one.inSync ? "in sync" : "behind",
      `${one.heartbeatAgeMs} ms`,
      String(one.agents),
      String(one.connections),
      one.policyVersion === 0n ? "none" : String(one.policyVersion),
    ]);
    const head = ["NODE", "HEARD", "STATE", "RECORDS", "LAST HEARD", "AGENTS", "CONNECTIONS"];
    context.output.line(table([[...head, "POLICY"], ...rows]));
    for (const { node, policyRefusedVersion, policyRefused } of listed) {
      if (policyRefusedVersion === 0n) continue;
      context.output.line(`${node} refuses policy ${policyRefusedVersion}: ${policyRefused}`);
    }
  });
}

function usd(micros: bigint | undefined): string {
  return formatUsdMicros(Number(micros ?? 0n));
}
