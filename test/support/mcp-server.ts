import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server as HttpServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import {
  CallToolRequestSchema,
  isInitializeRequest,
  ListResourcesRequestSchema,
  ListToolsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";

/** A call that reached the server. */
export type Called = { readonly tool: string; readonly arguments: unknown };

const TOOLS = ["search", "read_file", "delete_repo"];

/**
 * An MCP server of the official SDK with three tools. `search` says its query, so that a test can have
 * it say anything; its answers are streams, or documents where the path ends in `json`.
 */
export class McpServer implements AsyncDisposable {
  readonly calls: Called[] = [];
  readonly heads: IncomingHttpHeaders[] = [];
  readonly #sessions = new Map<string, StreamableHTTPServerTransport>();
  readonly #http: HttpServer;

  constructor() {
    this.#http = createServer((request, response) => {
      this.heads.push(request.headers);
      const handled = async () => {
        const body: unknown = await json(request);
        const known = this.#sessions.get(String(request.headers["mcp-session-id"]));
        const opened =
          known ?? (isInitializeRequest(body) ? await this.#open(request.url) : undefined);
        if (opened === undefined) response.writeHead(404).end();
        else await opened.handleRequest(request, response, body);
      };
      handled().catch(() => response.destroy());
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    this.#http.listen(0, "127.0.0.1");
    await once(this.#http, "listening");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#http.close();
    this.#http.closeAllConnections();
    await once(this.#http, "close");
  }

  async #open(path: string | undefined): Promise<StreamableHTTPServerTransport> {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      enableJsonResponse: path?.endsWith("json") === true,
      onsessioninitialized: (id) => void this.#sessions.set(id, transport),
    });
    const server = new Server(
      { name: "test", version: "1.0.0" },
      { capabilities: { tools: {}, resources: {} } },
    );
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: TOOLS.map((name) => ({ name, inputSchema: { type: "object" as const } })),
    }));
    server.setRequestHandler(ListResourcesRequestSchema, () => ({ resources: [] }));
    server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
      this.calls.push({ tool: params.name, arguments: params.arguments });
      return { content: [{ type: "text" as const, text: String(params.arguments?.query) }] };
    });
    // The SDK's own types differ in optional members only.
    await server.connect(transport as Parameters<Server["connect"]>[0]);
    return transport;
  }
}
