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
    const { alone, next, signatures } = unknownChainCost();
    const wait = await unknownChainWait();
    const badUs = badTokenCost();
    const sentUs = await sendingOverTlsCost();
    return {
      load:
        "each part alone, warm, processor time of its thread, median of 9 batches of 100 ms; " +
        "cold, blocked and processor: the clock and processor time, median of 9 batches of 200 ms",
      figures: [
        us("cold_us", wait.aside.median),
        us("cold_blocked_us", wait.aside.blocked),
        us("cold_processor_us", wait.aside.processor),
        us("cold_alone_us", wait.alone.median),
        us("five_signatures_us", signatures.median),
        { name: "cold_ratio", value: alone.median / signatures.median, unit: "x" },
        us("next_us", next.median),
        us("known_us", knownChainCost()),
        us("warm_us", warmContractCost()),
        us("bad_token_us", badUs),
        us("bad_token_sent_us", sentUs),
        { name: "bad_token_ratio", value: badUs / sentUs, unit: "x" },
      ],
      notes: [
        "cold: until a chain of four delegations of which nothing is known is verified whole, as a node does it, signatures in libuv's " +
          `pool: ${range(wait.aside)} us. blocked: of that, what the thread that asked could do nothing else in; processor: of all threads. ` +
          `cold_alone: in turn with it, the same by one thread, ${range(wait.alone)} us. ` +
          `five_signatures: of that, the cryptography, ${range(signatures)} us; cold_ratio: all of its processor time over that. ` +
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
