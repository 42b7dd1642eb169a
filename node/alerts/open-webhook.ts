import type { NameResolver } from "../../ports/names.ts";
import type { Store } from "../../ports/store.ts";
import { Webhook, type WebhookOptions } from "./webhook.ts";
import { readWebhookFile, WebhookFileFault } from "./webhook-file.ts";
import { webhookPost } from "./webhook-post.ts";

export type OpenWebhook = Pick<WebhookOptions, "from" | "clock" | "random" | "onProblem"> & {
  /** The operator's file; absent: nobody is to be told. */
  readonly path: string | undefined;
  /** Reads a file that its owner alone may read; undefined: there is none. */
  readonly readPrivate: (path: string) => Uint8Array | undefined;
  readonly store: Store;
  readonly names: () => NameResolver;
};

/** @throws WebhookFileFault The file is not there, or is not understood. */
export function openWebhook({
  path,
  readPrivate,
  names,
  ...options
}: OpenWebhook): Webhook | undefined {
  if (path === undefined) return undefined;
  const bytes = readPrivate(path);
  if (bytes === undefined) throw new WebhookFileFault(`${path} is not there`);
  const target = readWebhookFile(bytes);
  const post = webhookPost(target, names(), options.clock);
  return new Webhook({ ...options, target, post });
}
