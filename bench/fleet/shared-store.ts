import type { Store } from "../../ports/store.ts";

type Entry = readonly [key: string, value: Uint8Array];

/**
 * One node's store within one that many nodes of a process write to, over entries that all of them
 * began with: a thousand environments of LMDB would measure LMDB.
 */
export function sharedStore(inner: Store, node: string, base: readonly Entry[]): Store {
  const own = `${node}|`;
  return {
    get: (key) => inner.get(own + key) ?? base.find(([name]) => name === key)?.[1],
    list: (prefix, { after = "", limit = Number.POSITIVE_INFINITY } = {}) => {
      const isWanted = ([key]: Entry): boolean => key.startsWith(prefix) && key > after;
      const entries = new Map(base.filter(isWanted));
      for (const [key, value] of inner.list(own + prefix)) {
        const name = key.slice(own.length);
        if (isWanted([name, value])) entries.set(name, value);
      }
      return [...entries].sort(([left], [right]) => (left < right ? -1 : 1)).slice(0, limit);
    },
    commit: (writes, guard) =>
      inner.commit(
        writes.map(({ key, value }) => ({ key: own + key, value })),
        guard && { key: own + guard.key, value: guard.value },
      ),
    close: async () => undefined,
  };
}
