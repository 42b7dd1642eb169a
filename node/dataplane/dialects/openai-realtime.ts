import type { RelayDialect } from "./answer-part.ts";
import type { Route } from "./dialect.ts";
import { OPENAI_CHAT } from "./openai-chat.ts";
import { WORDLESS_REQUEST } from "./wordless-request.ts";

/** Where OpenAI's sessions begin. */
export const REALTIME: Route = {
  id: "openai.realtime",
  method: "GET",
  path: "/v1/realtime",
  kind: "generate",
  bodyless: true,
  isSession: true,
};

/**
 * OpenAI's Realtime API over WebSocket: no dialect of its own, for nothing of it is read. Of a session the handshake is judged; what is said in it is
 * carried unread and counted by nobody, so policy has to let it, model by model.
 *
 * @see https://platform.openai.com/docs/guides/realtime-websocket
 */
export const OPENAI_REALTIME: RelayDialect = {
  ...OPENAI_CHAT,
  routes: [REALTIME],
  // Extensions are left out: what is compressed could be looked into by nobody who comes later.
  passedHeaders: ["sec-websocket-version", "sec-websocket-key", "sec-websocket-protocol"],
  settableMembers: [],
  // The path's query names the model.
  read: () => WORDLESS_REQUEST,
  upstreamBody: (_route, body) => body,
  upstreamPath: ({ path }, model) => `${path}?model=${encodeURIComponent(model)}`,
};
