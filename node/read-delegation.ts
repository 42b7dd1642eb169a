import { planDelegation } from "../authority/delegation.ts";
import { stageOf } from "../proto/reasons.ts";
import { parseStrict } from "./dataplane/strict-json.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { Asked } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";

/** Bytes of a request to delegate at most; a contract has no more. */
const DELEGATION_BYTES_MAX = 16 * 1024;
const REQUEST_STAGE = 1;
const KILL_STAGE = 3;
const DEPTH_MAX = 8;
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
  const delegator = { ...contract, agent: row.agentId };
  const nowS = Math.floor(loop.clock.nowMs() / 1000);
  const planned = planDelegation(parsed.value, delegator, nowS);
  if (!("refused" in planned)) return planned;
  return { missing: planned.refused, detail: planned.detail };
}
