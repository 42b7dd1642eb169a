import { type Wish, wishBody } from "../fixtures/upstream.ts";
import { closedLoop } from "./closed-loop.ts";
import type { RawPool, RawTls } from "./raw-pool.ts";

/** Connections that ask at once. */
export const CONNECTIONS = 8;

/**
 * Asks one thing over and over, and returns how often it was answered.
 *
 * @throws Error Something else than a 200 came: then nothing was measured.
 */
export async function allowedLoad(of: {
  readonly origin: string;
  readonly key: string;
  readonly wish: Wish;
  readonly ms: number;
  /** Default: `CONNECTIONS`. */
  readonly connections?: number;
  /** Where it takes chat completions, and what it wants besides the key; see `closedLoop`. */
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** For an origin with TLS; see `RawPool`. */
  readonly tls?: RawTls;
  /** Connections that are kept from one load to the next; see `closedLoop`. */
  readonly pool?: RawPool;
  /** Told how long each answer took, from the request to its last byte. */
  readonly onTook?: (ns: bigint) => void;
}): Promise<number> {
  const { origin, key, wish, ms, connections = CONNECTIONS, path, headers, tls, pool, onTook } = of;
  const body = wishBody(wish, "load");
  let requests = 0;
  await closedLoop(
    {
      origin,
      key,
      ...(path !== undefined && { path }),
      ...(headers !== undefined && { headers }),
      ...(tls !== undefined && { tls }),
      ...(pool !== undefined && { pool }),
      connections,
      pauseMs: 0,
      next: () => ({ id: "load", body }),
      onAnswer: ({ status, reason, tookNs }) => {
        if (status !== 200) throw new Error(`expected an answer, not ${status} ${reason}`);
        onTook?.(tookNs);
        requests += 1;
      },
    },
    AbortSignal.timeout(ms),
  );
  return requests;
}
