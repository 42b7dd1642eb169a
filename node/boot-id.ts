import type { Clock } from "../ports/clock.ts";
import { type Random, timeOfUuidV7, uuidV7 } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";

const KEY = "boot";

/**
 * An id for this start of the node: a UUIDv7 of a later time than those of all its starts before, wherever the clock was
 * set meanwhile. The ledger lends nothing to a start once a later one has asked. On the disk before anybody hears it.
 *
 * Rejects with StoreFault.
 */
export async function nextBootId(
  store: Pick<Store, "get" | "commit">,
  clock: Pick<Clock, "nowMs">,
  random: Random,
): Promise<string> {
  const before = store.get(KEY);
  const beforeMs = before && timeOfUuidV7(Buffer.from(before).toString());
  const bootId = uuidV7(Math.max(clock.nowMs(), (beforeMs ?? 0) + 1), random);
  await store.commit([{ key: KEY, value: Buffer.from(bootId) }]);
  return bootId;
}
