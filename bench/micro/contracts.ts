import type { Bench } from "../harness/bench.ts";
import { badTokenCost, sendingOverTlsCost } from "./bad-token.ts";
import {
  knownChainCost,
  unknownChainCost,
  unknownChainWait,
  warmContractCost,
} from "./chain-cost.ts";

export const contracts: Bench = {
  name: "contracts",
  question:
    "What does a contract cost: the first time, again, with each request, and to who forges one?",
  run: async () => {
    const us = (name: string, value: number) => ({ name, value, unit: "us" });
    const { alone, next, signatures, openssl } = unknownChainCost();
    const wait = await unknownChainWait();
    const badUs = badTokenCost();
    const sentUs = await sendingOverTlsCost();
    return {
      load:
        "each part alone, warm, processor time of its thread, median of 9 batches of 100 ms; " +
        "cold and blocked: the clock and processor time, median of 9 batches of 200 ms",
      figures: [
        us("cold_us", wait.median),
        us("cold_blocked_us", wait.blocked),
        us("five_signatures_us", signatures.median),
        us("five_by_openssl_us", openssl.median),
        { name: "cold_ratio", value: alone.median / openssl.median, unit: "x" },
        us("next_us", next.median),
        us("known_us", knownChainCost()),
        us("warm_us", warmContractCost()),
        us("bad_token_us", badUs),
        us("bad_token_sent_us", sentUs),
        { name: "bad_token_ratio", value: badUs / sentUs, unit: "x" },
      ],
      notes: [
        "cold: until a chain of four delegations of which nothing is known is verified whole, as a node does it, a link a " +
          `turn: ${range(wait)} us. blocked: of that, what the thread that asked could do nothing else in. ` +
          `five_signatures: of that, the cryptography, ${range(signatures)} us. five_by_openssl: the same by node:crypto, ${range(openssl)} us; ` +
          "cold_ratio: the processor time of all of a chain over that. " +
          "next: of which all but the last link is known, as on a node that serves its delegator. " +
          "known: once its links are known, as each half a minute. warm: whose key a request carries, by its hash. " +
          "bad_token: the dearest that one who holds nothing can send, a proof with all right but its signature. " +
          "bad_token_sent: what that costs its sender over TLS, a connection each, because a refusal ends it.",
      ],
    };
  },
};

function range({ least, most }: { readonly least: number; readonly most: number }): string {
  return `${least.toFixed(0)} to ${most.toFixed(0)}`;
}
