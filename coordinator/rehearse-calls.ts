import type { Calls } from "../adapters/grpc-client.ts";
import { RpcError } from "../adapters/grpc-error.ts";
import type { CoordinatorService } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";

/** Whoever stops waits for it. */
const CALL_MS_MAX = 1_000;

/**
 * Asks this coordinator's own socket for what changes nothing, so that the way of a call is compiled before one comes:
 * a kill spends more of its time on it than on everything else that the coordinator does for it.
 *
 * @returns How many calls were answered; one that was not is the last.
 */
export async function rehearseCalls(
  calls: Pick<Calls<typeof CoordinatorService>, "getScope">,
  count: number,
): Promise<number> {
  for (let answered = 0; answered < count; answered += 1) {
    try {
      await calls.getScope({ scope: "global" }, { timeoutMs: CALL_MS_MAX });
    } catch (error) {
      // It is stopping, or has as many connections as it takes.
      if (!(error instanceof RpcError)) throw error;
      return answered;
    }
  }
  return count;
}
