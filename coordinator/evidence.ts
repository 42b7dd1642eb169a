import { createHash } from "node:crypto";
import type { Store } from "../ports/store.ts";
import { evidenceKey } from "./store-keys.ts";

/** Pairs of contradicting checkpoints that are kept of one log, of each kind. */
export const EVIDENCE_MAX = 16;

/** What is kept of two checkpoints of one log that contradict each other. */
export type KeptEvidence = {
  readonly origin: string;
  readonly kind: string;
  /** What was cosigned, verbatim; empty: a witness says that there is such a one, and does not show it. */
  readonly cosigned: string;
  readonly offered: string;
};

/**
 * Keeps a contradiction. One that is kept already is neither told nor kept again, however often it is brought.
 *
 * @throws StoreFault It was told and is not kept.
 */
export async function keepEvidence(
  store: Store,
  evidence: KeptEvidence & { readonly proof?: readonly Uint8Array[] },
  tell: () => void,
): Promise<void> {
  const { origin, kind, offered, proof } = evidence;
  const key = evidenceKey(origin, `${kind}-${createHash("sha256").update(offered).digest("hex")}`);
  if (store.get(key) !== undefined) return;
  tell();
  const limit = { limit: EVIDENCE_MAX };
  if (store.list(evidenceKey(origin, `${kind}-`), limit).length >= EVIDENCE_MAX) return;
  const hashes = proof?.map((hash) => Buffer.from(hash).toString("base64"));
  const value = Buffer.from(JSON.stringify({ ...evidence, ...(hashes && { proof: hashes }) }));
  await store.commit([{ key, value }]);
}
