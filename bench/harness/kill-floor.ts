import { lastClosedNs, type SocketEnd } from "./socket-end.ts";
import type { BareProxy } from "./start-bare-proxy.ts";
import { until } from "./until.ts";

const CLOSE_TIMEOUT_MS = 10_000;

/**
 * What nobody can be faster than who ends connections one by one: the kernel ends the process that carries all of
 * them. To the last close at both peers, milliseconds.
 *
 * @param of.far Its end of them: whether all are closed, and when the last one was, monotonic nanoseconds.
 * @throws Error Some are open after ten seconds.
 */
export async function killFloorMs(
  bare: BareProxy,
  of: {
    readonly clients: readonly { readonly end: SocketEnd }[];
    readonly far: { readonly isOver: () => boolean; readonly lastCloseNs: () => bigint };
  },
): Promise<number> {
  const { clients, far } = of;
  const killedNs = bare.kill();
  const isOver = () => clients.every(({ end }) => end.isClosed) && far.isOver();
  await until(isOver, CLOSE_TIMEOUT_MS);
  if (!isOver()) throw new Error("connections of a process that has ended are open");
  return Number(lastClosedNs(clients, far.lastCloseNs()) - killedNs) / 1e6;
}
