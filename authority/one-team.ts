/**
 * Whether two agents, `team/agent` each, are of one team.
 *
 * What an agent may do is its contract met with the policy of its team, and a kill of its team ends it.
 * Authority that went to another team would go by the other's policy, at the other's expense, and would
 * outlive a kill of its own.
 */
export function areOfOneTeam(one: string, other: string): boolean {
  return teamOf(one) === teamOf(other);
}

function teamOf(agent: string): string {
  return agent.slice(0, agent.indexOf("/"));
}
