import type { Clock } from "../../ports/clock.ts";
import type { NameResolver } from "../../ports/names.ts";
import type { CallControl, OriginCall } from "../dataplane/origin/call.ts";
import type { OriginPool } from "../dataplane/origin-pool.ts";
import { createAddressRules } from "../dataplane/tunnel/address-rules.ts";
import type { WebhookTarget } from "./webhook-file.ts";
import type { WebhookRequest } from "./webhook-message.ts";

/** One attempt, from the name's resolution to the last byte of the answer. */
const ATTEMPT_MS = 10_000;
/** What is read of an answer, whose content says nothing to us. Bytes. */
const ANSWER_BYTES_MAX = 64 * 1024;

/** Delivers once. Rejects unless the receiver has said 2xx; `stop` gives the attempt up. */
export type PostWebhook = (request: WebhookRequest, stop: AbortSignal) => Promise<void>;

/**
 * Posts to the operator's receiver and nowhere else: the name is resolved here and once, every address must
 * be one that the file allows, and an answer that points elsewhere is a failure like any other.
 */
export function webhookPost(
  target: WebhookTarget,
  names: NameResolver,
  clock: Pick<Clock, "after">,
): PostWebhook {
  const rules = createAddressRules(target.ranges);
  const { url } = target;
  return async ({ headers, body }, stop) => {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(ATTEMPT_MS)]);
    const addresses = await names.resolve(url.hostname.replace(/^\[|\]$/g, ""));
    const closed = addresses.find(({ address }) => !rules.permits(address));
    if (closed !== undefined) throw new Error(`${url.host} is at ${closed.address}, not in ranges`);
    // Loaded by who has something to tell: this thread needs no HTTP client for anything else.
    const { pinnedUpstream } = await import("../dataplane/pinned-upstream.ts");
    const receiver = pinnedUpstream(url.origin, addresses, clock);
    try {
      const call = {
        method: "POST",
        path: `${url.pathname}${url.search}`,
        headers: Object.entries(headers).flat(),
        body: Buffer.from(body),
      };
      const status = await statusOf(call, receiver, signal);
      if (status >= 200 && status < 300) return;
      throw new Error(`${url.host} answered ${status}`);
    } finally {
      await receiver.destroy();
    }
  };
}

/** The status of the answer once all of it came, or as much as is read of one. */
function statusOf(
  call: OriginCall,
  receiver: Pick<OriginPool, "dispatch">,
  signal: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let control: CallControl | undefined;
    let status = 0;
    let bytes = 0;
    const giveUp = (): void => {
      control?.abort();
      reject(signal.reason);
    };
    signal.addEventListener("abort", giveUp, { once: true });
    receiver.dispatch(call, {
      mayConnect: () => !signal.aborted,
      mayWrite: (given) => {
        control = given;
        return !signal.aborted;
      },
      onHead: (said) => {
        status = said;
      },
      onBody: (piece) => {
        bytes += piece.length;
        if (bytes <= ANSWER_BYTES_MAX) return;
        control?.abort();
        resolve(status);
      },
      onEnd: () => resolve(status),
      onFault: reject,
    });
    if (signal.aborted) giveUp();
  });
}
