import { JetStreamApiError } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { BusFault } from "../ports/bus.ts";

const MESSAGE_TOO_LARGE = 10054;

/**
 * What the client threw, as the port has it.
 *
 * @param what Subject or stream it was about, for people.
 */
export function natsFault(error: unknown, what: string): BusFault {
  if (error instanceof BusFault) return error;
  const code = codeOf(error);
  const message = error instanceof Error ? `${what}: ${error.message}` : what;
  return new BusFault(code, message, { cause: error });
}

function codeOf(error: unknown): BusFault["code"] {
  if (error instanceof errors.TimeoutError) return "timeout";
  if (error instanceof errors.NoRespondersError) return "no_responders";
  if (error instanceof errors.RequestError) {
    // Without an answer of the server, a request ends this way only when its connection does.
    return error.isNoResponders() ? "no_responders" : "closed";
  }
  if (error instanceof errors.ClosedConnectionError) return "closed";
  if (error instanceof errors.DrainingConnectionError) return "closed";
  // The server's own limit on payloads may be lower than ours.
  if (error instanceof errors.InvalidArgumentError) return "too_large";
  if (error instanceof JetStreamApiError) {
    if (error.code === MESSAGE_TOO_LARGE) return "too_large";
    return error.status === 404 ? "no_responders" : "unknown";
  }
  const name = error instanceof Error ? error.name : "";
  return name === "JetStreamNotEnabled" ? "no_responders" : "unknown";
}
