import type { Decision } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { type CommandContext, CommandError } from "../command-context.ts";

/** Refusals that are shown of before. */
const RECENT_DEFAULT = 20;
/** One agent and reason is told once in this time, ms; what comes meanwhile is counted. */
const TOLD_EVERY_MS = 60_000;

export type ViolationsOptions = {
  readonly follow?: boolean;
  readonly agent?: string;
  readonly reason?: string;
  readonly recent?: string;
  readonly every?: boolean;
};

type Told = { readonly atMs: number; more: number };

/**
 * `altrace violations`: what this node refused of known agents, and with `--follow` each new refusal as it
 * is made: of one agent and reason at most one a minute, with how many there were since the last.
 */
export async function violations(
  context: CommandContext,
  options: ViolationsOptions,
  until: Promise<unknown>,
): Promise<void> {
  const { follow = false, agent = "", reason, recent, every = false } = options;
  const aborted = new AbortController();
  void until.then(() => aborted.abort());
  const request = {
    filter: agent,
    refusedOnly: true,
    reasons: reason === undefined ? [] : [reason],
    recent: countOf(recent),
    recentOnly: !follow,
  };
  const told = new Map<string, Told>();
  try {
    const { signal } = aborted;
    for await (const said of context.node().calls.watchDecisions(request, { signal })) {
      const { decision } = said;
      if (decision === undefined) continue;
      const missed = Number(said.missed);
      const more = follow && !every ? moreSince(told, said.agent, decision, missed) : missed;
      if (more !== undefined) show(context, said.agent, decision, more);
    }
  } catch (error) {
    if (!aborted.signal.aborted) throw error;
  }
}

/**
 * How many of the kind were not shown since the last that was; undefined: this one is not either.
 *
 * @param missed Those before it that the node did not tell singly.
 */
function moreSince(
  told: Map<string, Told>,
  agent: string,
  decision: Decision,
  missed: number,
): number | undefined {
  const key = `${agent} ${decision.reason}`;
  const atMs = Number(decision.atMs);
  const last = told.get(key);
  if (last !== undefined && atMs - last.atMs < TOLD_EVERY_MS) {
    last.more += 1 + missed;
    return undefined;
  }
  told.set(key, { atMs, more: 0 });
  return (last?.more ?? 0) + missed;
}

function show(context: CommandContext, agent: string, decision: Decision, more: number): void {
  const { output } = context;
  const { requestId, stage, reason } = decision;
  const at = new Date(Number(decision.atMs)).toISOString();
  const alert = { at, agent, stage, reason, request_id: requestId, not_shown: more };
  output.result(alert, () => {
    const others = more > 0 ? `  and ${more} since the last one shown` : "";
    output.line(`${at}  ${agent}  ${stage}  ${reason}  ${requestId}${others}`);
  });
}

function countOf(text: string | undefined): number {
  if (text === undefined) return RECENT_DEFAULT;
  if (!/^[0-9]{1,4}$/.test(text)) {
    throw new CommandError(`--recent ${text}: expected a whole number below 10000`, 2);
  }
  return Number(text);
}
