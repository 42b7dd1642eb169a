import type { Via } from "../../../../../node/dataplane/exchange.ts";

/** A connection to host `a` whose TLS was ended. */
export const VIA: Via = {
  host: "a",
  port: 443,
  door: "forward",
  original: undefined,
  agentId: "red/worker",
  keyHandle: "k",
  isContract: false,
};
