import { createHmac } from "node:crypto";
import type { DueAlert } from "./alert-book.ts";

/** An alert as it waits to be delivered: its id stays the same over all attempts. */
export type Alert = DueAlert & { readonly id: string };

export type WebhookRequest = {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/**
 * What is posted for an alert, signed so that any library of Standard Webhooks verifies it.
 *
 * @param nowMs Time of this attempt, ms since the Unix epoch: receivers refuse what is minutes old.
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function webhookRequest(
  alert: Alert,
  from: { readonly mesh: string; readonly node: string },
  { secret, nowMs }: { readonly secret: Uint8Array; readonly nowMs: number },
): WebhookRequest {
  const { id, agent, reason, stage, count, firstMs, lastMs, requestId } = alert;
  const data = { ...from, agent, reason, stage, count, request_id: requestId };
  const times = { first_at: isoOf(firstMs), last_at: isoOf(lastMs) };
  const body = JSON.stringify({
    type: "altrace.violation",
    timestamp: isoOf(lastMs),
    data: { ...data, ...times },
  });
  const seconds = String(Math.floor(nowMs / 1_000));
  const mac = createHmac("sha256", secret).update(`${id}.${seconds}.${body}`).digest("base64");
  return {
    headers: {
      "content-type": "application/json",
      "user-agent": "altrace",
      "webhook-id": id,
      "webhook-timestamp": seconds,
      "webhook-signature": `v1,${mac}`,
    },
    body,
  };
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
