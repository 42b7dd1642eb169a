import { type Wish, wishBody } from "../fixtures/upstream.ts";
import { closedLoop } from "./closed-loop.ts";

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
}): Promise<number> {
  const { origin, key, wish, ms } = of;
  const body = wishBody(wish, "load");
  let requests = 0;
  await closedLoop(
    {
      origin,
      key,
      connections: CONNECTIONS,
      pauseMs: 0,
      next: () => ({ id: "load", body }),
      onAnswer: ({ status, reason }) => {
        if (status !== 200) throw new Error(`expected an answer, not ${status} ${reason}`);
        requests += 1;
      },
    },
    AbortSignal.timeout(ms),
  );
  return requests;
}
