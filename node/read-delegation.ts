import { readClaims } from "../authority/claims.ts";
import { CHAIN_CHARS_MAX } from "../authority/contract-limits.ts";
import { orRefusal } from "../authority/contract-refusal.ts";
import { planDelegation } from "../authority/delegation.ts";
import { readEnvelope } from "../authority/token.ts";
import { LINK_SEPARATOR } from "../authority/verify-chain.ts";
import { stageOf } from "../proto/reasons.ts";
import { parseStrict } from "./dataplane/strict-json.ts";
import { type Facts, isMissing, type Missing } from "./decision/facts.ts";
import type { Asked } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import type { Funding } from "./thread-messages.ts";

/** Bytes of a request to delegate at most: a whole chain and its name. */
const DELEGATION_BYTES_MAX = 40 * 1024;
const REQUEST_STAGE = 1;
const KILL_STAGE = 3;
const DEPTH_MAX = 8;
/** A node's id, or none. */
const NODE = /^[a-z0-9-]{0,63}$/;
const TIMEOUT_MS = 10_000;

/** Reads the body of a request to delegate. Changes `asked` in place; other requests are left alone. */
export async function gatherDelegation(asked: Asked, loop: LoopContext): Promise<void> {
  const { found, identity } = asked;
  if (isMissing(found) || found.route.kind !== "delegate" || isMissing(identity)) return;
  const read = await readDelegation(asked, loop);
  const stage = isMissing(read) ? stageOf(read.missing) : 0;
  // A kill while the body came is stage 3's to tell, and what cannot be read is stage 1's.
  if (isMissing(read) && stage === KILL_STAGE) asked.unread = read.missing;
  else if (isMissing(read) && stage === REQUEST_STAGE) asked.request = read;
  else asked.delegation = read;
}

/** Holds what is to be delegated against the contract of the key that asks. */
async function readDelegation(
  { exchange, row }: Asked,
  loop: LoopContext,
): Promise<NonNullable<Facts["delegation"]>> {
  const limits = { bytesMax: DELEGATION_BYTES_MAX, timeoutMs: TIMEOUT_MS };
  const body = await exchange.readBody(limits);
  if (typeof body === "string") return { missing: body };
  const contract = row?.contract;
  if (row === undefined || contract === undefined) {
    return { missing: "delegation_without_contract" };
  }
  const parsed = parseStrict(body, { depthMax: DEPTH_MAX });
  if (!("value" in parsed)) return parsed;
  const funding = readFunding(parsed.value, contract.ids.at(-1) ?? "");
  if (funding !== undefined) return funding;
  // It may be the agent's own: then no node can sign in its name.
  if (contract.holder !== undefined) return { missing: "delegation_own_key" };
  const delegator = { ...contract, agent: row.agentId };
  const nowS = Math.floor(loop.clock.nowMs() / 1000);
  const planned = planDelegation(parsed.value, delegator, nowS);
  if (!("refused" in planned)) return planned;
  return { missing: planned.refused, detail: planned.detail };
}

/**
 * `{"chain": ..., "node": ...}`: what the holder delegated by itself, with its own key. Whether it is
 * genuine is looked at where it is funded; here, that it says it is the holder's.
 */
function readFunding(wish: unknown, contractId: string): Funding | Missing | undefined {
  if (typeof wish !== "object" || wish === null || !Object.hasOwn(wish, "chain")) return undefined;
  const { chain, node = "", ...others } = wish as Readonly<Record<string, unknown>>;
  const isRead = typeof chain === "string" && typeof node === "string" && NODE.test(node);
  if (!isRead || Object.keys(others).length > 0) {
    return { missing: "malformed_request", detail: "chain stands alone, or with node" };
  }
  if (chain.length > CHAIN_CHARS_MAX) return { missing: "contract_too_large" };
  const parent = orRefusal(() => {
    const { payload } = readEnvelope(chain.slice(chain.lastIndexOf(LINK_SEPARATOR) + 1));
    return { id: readClaims(payload).parent };
  });
  if ("refused" in parent) return { missing: parent.refused, detail: parent.detail };
  const isOwn = parent.id === contractId;
  return isOwn
    ? { chain, node }
    : { missing: "contract_parent", detail: "not delegated from yours" };
}
