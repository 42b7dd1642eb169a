import type { Bench } from "../harness/bench.ts";
import { badTokenCost, sendingOverTlsCost } from "./bad-token.ts";
import { knownChainCost, unknownChainCost, warmContractCost } from "./chain-cost.ts";
import type { Cost } from "./cost-of.ts";

export const contracts: Bench = {
  name: "contracts",
  question:
    "What does a contract cost: the first time, again, with each request, and to who forges one?",
  run: async () => {
    const us = (name: string, value: number) => ({ name, value, unit: "us" });
    const { cold, next, signatures } = unknownChainCost();
    const badUs = badTokenCost();
    const sentUs = await sendingOverTlsCost();
    return {
      load: "each part alone, warm, processor time of its thread, median of 9 batches of 100 ms",
      figures: [
        us("cold_us", cold.median),
        us("five_signatures_us", signatures.median),
        { name: "cold_ratio", value: cold.median / signatures.median, unit: "x" },
        us("next_us", next.median),
        us("known_us", knownChainCost()),
        us("warm_us", warmContractCost()),
        us("bad_token_us", badUs),
        us("bad_token_sent_us", sentUs),
        { name: "bad_token_ratio", value: badUs / sentUs, unit: "x" },
      ],
      notes: [
        "cold: a chain of four delegations of which nothing is known, verified whole; of that, five_signatures are the cryptography, " +
          `batch by batch in turn: ${range(cold)} and ${range(signatures)} us. ` +
          "next: of which all but the last link is known, as on a node that serves its delegator. " +
          "known: once its links are known, as each half a minute. warm: whose key a request carries, by its hash. " +
          "bad_token: the dearest that one who holds nothing can send, a proof with all right but its signature. " +
          "bad_token_sent: what that costs its sender over TLS, a connection each, because a refusal ends it.",
      ],
    };
  },
};

function range({ least, most }: Cost): string {
  return `${least.toFixed(0)} to ${most.toFixed(0)}`;
}
