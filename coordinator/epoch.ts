import { type Guard, StoreFault } from "../ports/store.ts";
import type { LedgerStore } from "./ledger-actor.ts";
import { EPOCH_KEY } from "./store-keys.ts";

/** This run's number and the condition under which its writes may still happen. */
export type Epoch = { readonly epoch: number; readonly guard: Guard };

/**
 * Begins a run: counts the start, so that whatever an earlier run still writes under its guard is
 * refused from now on.
 *
 * @throws StoreFault The counter could not be moved, or is not a number.
 */
export async function beginEpoch(store: LedgerStore): Promise<Epoch> {
  const stored = store.get(EPOCH_KEY);
  const before = stored === undefined ? 0 : Number(Buffer.from(stored).toString());
  if (!Number.isSafeInteger(before) || before < 0) throw new StoreFault("epoch is not a number");
  const epoch = before + 1;
  const value = Buffer.from(String(epoch));
  const outcome = await store.commit([{ key: EPOCH_KEY, value }], {
    key: EPOCH_KEY,
    value: stored,
  });
  if (outcome === "conflict") throw new StoreFault("another coordinator began at the same moment");
  return { epoch, guard: { key: EPOCH_KEY, value } };
}
