import type { NameResolver } from "../../ports/names.ts";
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
export function webhookPost(target: WebhookTarget, names: NameResolver): PostWebhook {
  const rules = createAddressRules(target.ranges);
  const { url } = target;
  return async ({ headers, body }, stop) => {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(ATTEMPT_MS)]);
    const addresses = await names.resolve(url.hostname.replace(/^\[|\]$/g, ""));
    const closed = addresses.find(({ address }) => !rules.permits(address));
    if (closed !== undefined) throw new Error(`${url.host} is at ${closed.address}, not in ranges`);
    // Loaded by who has something to tell: this thread needs no HTTP client for anything else.
    const { pinnedUpstream } = await import("../dataplane/pinned-upstream.ts");
    const receiver = pinnedUpstream(url.origin, addresses);
    try {
      const path = `${url.pathname}${url.search}`;
      const answer = await receiver.request({ method: "POST", path, headers, body, signal });
      await answer.body.dump({ limit: ANSWER_BYTES_MAX, signal });
      if (answer.statusCode >= 200 && answer.statusCode < 300) return;
      throw new Error(`${url.host} answered ${answer.statusCode}`);
    } finally {
      await receiver.destroy();
    }
  };
}
