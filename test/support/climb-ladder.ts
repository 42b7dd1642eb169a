import type { Operator } from "../../bench/harness/operator.ts";
import { Standing } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { CLIMBER_NAMES } from "./conformance-policy.ts";
import { waitUntil } from "./wait-until.ts";

/** How an agent gets to each level that its offences lead to, and what it stands at then. */
const OFFENCES = {
  warned: { times: 1, prompt: "offence-medium-0000", standing: Standing.WARNING },
  throttled: { times: 4, prompt: "offence-medium-0000", standing: Standing.THROTTLE },
  quarantined: { times: 1, prompt: "offence-high-0000", standing: Standing.QUARANTINE },
  blocked: { times: 3, prompt: "offence-high-0000", standing: Standing.BLOCK },
};

/**
 * Brings each agent of a policy for conformance to the level that its name ends in.
 *
 * @param offend Asks as an agent of the team `edges`, with words that break a rule.
 */
export async function climbLadder(
  operator: Operator,
  offend: (agent: string, prompt: string) => Promise<unknown>,
): Promise<void> {
  await Promise.all(
    CLIMBER_NAMES.flatMap((name) => [
      operator.kill(`agent/edges/${name}-killed`),
      ...Object.entries(OFFENCES).map(async ([level, { times, prompt, standing }]) => {
        const agent = `${name}-${level}`;
        for (let time = 0; time < times; time++) await offend(agent, prompt);
        await waitUntil(`${agent} to stand at level ${standing}`, async () => {
          const { agent: seen } = await operator.node.calls.getAgent({ agent: `edges/${agent}` });
          return seen?.standing === standing;
        });
      }),
    ]),
  );
}
