import type { Clock } from "../../ports/clock.ts";
import type { NameResolver } from "../../ports/names.ts";
import { originDial } from "./origin/dial-origin.ts";
import { OriginPool } from "./origin-pool.ts";

export type UpstreamPools = {
  /** The pool of connections to an origin: scheme, host and port. */
  poolFor(origin: string): Pick<OriginPool, "dispatch">;
  /** Closes the pools of all other origins once what runs on them has ended. */
  retain(origins: ReadonlySet<string>): void;
  /** Ends what runs and closes all connections. */
  close(): Promise<void>;
};

export type UpstreamPoolsOptions = {
  readonly resolver: NameResolver;
  readonly clock: Pick<Clock, "after">;
  /** TCP and TLS together. */
  readonly connectTimeoutMs?: number;
  /** Certificates of authorities, PEM, that are trusted in place of the machine's. */
  readonly authorities?: readonly string[];
};

/** TCP and TLS together. */
export const CONNECT_TIMEOUT_MS = 10_000;

/** Less than the providers' own, so that it is seldom they who close a connection that we take. */
const KEEP_ALIVE_MS = 20_000;

/** After this a connection takes no more requests, so that a changed address is noticed. */
const CONNECTION_AGE_MS_MAX = 300_000;

/**
 * One pool for each origin, which policy alone names, so there are few.
 *
 * A connection carries one request at a time: that is what ties the last look at the kill state to
 * the turn in which the head is written. TLS is always verified, whatever the environment says.
 */
export function createUpstreamPools(options: UpstreamPoolsOptions): UpstreamPools {
  const pools = new Map<string, OriginPool>();
  return {
    poolFor: (origin) => {
      const known = pools.get(origin);
      if (known !== undefined) return known;
      const pool = createPool(origin, options);
      pools.set(origin, pool);
      return pool;
    },
    retain: (origins) => {
      for (const [origin, pool] of pools) {
        if (origins.has(origin)) continue;
        pools.delete(origin);
        // Closing waits for what runs.
        void pool.close();
      }
    },
    close: async () => {
      const open = [...pools.values()];
      pools.clear();
      await Promise.all(open.map((pool) => pool.destroy()));
    },
  };
}

function createPool(origin: string, options: UpstreamPoolsOptions): OriginPool {
  const { resolver, clock, authorities, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const { lookup } = resolver;
  return new OriginPool({
    dial: originDial(origin, { lookup, ...(authorities !== undefined && { authorities }) }),
    clock,
    connectTimeoutMs,
    ageMsMax: CONNECTION_AGE_MS_MAX,
    keepMs: KEEP_ALIVE_MS,
  });
}
