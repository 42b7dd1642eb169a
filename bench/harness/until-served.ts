import { wishBody } from "../fixtures/upstream.ts";
import { CONNECTIONS } from "./allowed-load.ts";
import { type Answer, closedLoop } from "./closed-loop.ts";

const SERVED_FOR_MS = 500;
const SERVED_WITHIN_MS = 60_000;

/**
 * After a new policy or contract, rates and money are lent anew, by and by: resolves when nothing was
 * refused for a while.
 *
 * @throws Error Something else was said than to come again, or it was said for a minute.
 */
export async function untilServed(origin: string, key: string): Promise<void> {
  const deadlineMs = performance.now() + SERVED_WITHIN_MS;
  const body = wishBody("answer", "served");
  const next = () => ({ id: "served", body });
  let refusal = "";
  do {
    refusal = "";
    const onAnswer = ({ status, reason }: Answer) => {
      if (status !== 200) refusal = `${status} ${reason}`;
      // Whoever asks too much too early is told 429, and 503 where money has to be borrowed.
      if (status !== 200 && status !== 429 && status !== 503) throw new Error(refusal);
    };
    const stop = AbortSignal.timeout(SERVED_FOR_MS);
    await closedLoop({ origin, key, connections: CONNECTIONS, pauseMs: 0, next, onAnswer }, stop);
    if (performance.now() > deadlineMs) throw new Error(`not served: ${refusal}`);
  } while (refusal !== "");
}
