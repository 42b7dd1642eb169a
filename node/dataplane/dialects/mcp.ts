import type { RelayDialect } from "./answer-part.ts";
import type { RefusalWords, Route } from "./dialect.ts";
import { mcpStreamReader, readMcpAnswer } from "./mcp-answer.ts";
import { readMcpBodyless, readMcpRequest } from "./mcp-request.ts";

const PATH = "/mcp/*";

const ROUTES: readonly Route[] = [
  { id: "mcp.message", method: "POST", path: PATH, kind: "generate" },
  { id: "mcp.listen", method: "GET", path: PATH, kind: "generate", bodyless: true },
  { id: "mcp.end_session", method: "DELETE", path: PATH, kind: "generate", bodyless: true },
];

const METHOD_NOT_FOUND = -32_601;
const REFUSED = -32_000;

/**
 * The Model Context Protocol over streamable HTTP: one JSON-RPC message of the client a request.
 *
 * The server's own stream (GET) brings what it has to say without being asked, and nothing else; the end
 * of a session (DELETE) is passed on.
 *
 * A server is a provider of this dialect with one model, `mcp`, whose price is that of a call. Its
 * tools are granted as `mcp/<provider>/<tool>`, prompts and resources likewise with the verb `read`; lists
 * show only those.
 *
 * @see https://modelcontextprotocol.io/specification/2025-06-18/basic/transports
 */
export const MCP: RelayDialect = {
  name: "mcp",
  family: "mcp",
  routes: ROUTES,
  passedHeaders: ["accept", "mcp-protocol-version"],
  returnedHeaders: ["content-type", "mcp-session-id"],
  answersInEitherForm: true,
  settableMembers: [],
  read: (route, body) => (route.bodyless ? readMcpBodyless(route) : readMcpRequest(body)),
  listRefused: { missing: "batch_unsupported" },
  upstreamBody: (_route, body) => body,
  upstreamPath: () => "",
  readAnswer: readMcpAnswer,
  streamReader: mcpStreamReader,
  refusal: (words) => ({ contentType: "application/json", body: Buffer.from(errorOf(words)) }),
  // Clients look into the body of a success alone for the answer to what they asked.
  refusalStatus: ({ answersTo, status }) => (answersTo === undefined ? status : 200),
  cutFrame: (words) => Buffer.from(`event: message\ndata: ${errorOf(words)}\n\n`),
  modelList: () => ({}),
  credentialHeader: (secret) => ["authorization", `Bearer ${secret}`],
};

/** @see https://www.jsonrpc.org/specification#error_object */
function errorOf({ reason, message, requestId, answersTo }: RefusalWords): string {
  const code = reason === "unpriced_parameter" ? METHOD_NOT_FOUND : REFUSED;
  const error = { code, message, data: { reason, requestId } };
  return JSON.stringify({ jsonrpc: "2.0", id: answersTo ?? null, error });
}
