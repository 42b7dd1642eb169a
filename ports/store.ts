/** One change; `undefined` removes the key. */
export type Write = { readonly key: string; readonly value: Uint8Array | undefined };

/** The commit happens only while `key` still holds exactly `value` (`undefined`: is absent). */
export type Guard = { readonly key: string; readonly value: Uint8Array | undefined };

/** A store that could not be read or written; whether a commit took place is unknown. */
export class StoreFault extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "StoreFault";
  }
}

/**
 * Durable state of one role in one process.
 *
 * A commit is atomic, and it is on disk when it resolves: it survives power loss from then on. Reads
 * see every commit that was called earlier in this process, resolved or not.
 */
export type Store = {
  get(key: string): Uint8Array | undefined;
  /** Entries whose key starts with `prefix` and sorts after `after`, in key order (bytewise). */
  list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): readonly (readonly [key: string, value: Uint8Array])[];
  /** `conflict`: the guard did not hold and nothing was written. Rejects with StoreFault. */
  commit(writes: readonly Write[], guard?: Guard): Promise<"committed" | "conflict">;
  close(): Promise<void>;
};
