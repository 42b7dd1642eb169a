import type { Route } from "./dataplane/dialects/dialect.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import { SessionExchange } from "./dataplane/tunnel/session-exchange.ts";
import { handshakeObjection } from "./dataplane/tunnel/web-socket-handshake.ts";
import type { Missing } from "./decision/facts.ts";

/** A session is asked for where there are some, and nothing else is there. */
export function sessionObjection(exchange: Exchange, route: Route): Missing | undefined {
  const isAsked = exchange instanceof SessionExchange;
  if (!isAsked) return route.isSession ? HANDSHAKE_WANTED : undefined;
  return route.isSession ? handshakeObjection(exchange.head.rawHeaders) : UPGRADE_REFUSED;
}

const HANDSHAKE_WANTED: Missing = {
  missing: "malformed_request",
  detail: "a WebSocket handshake is wanted here",
};

const UPGRADE_REFUSED: Missing = { missing: "upgrade_refused" };
