import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server as HttpServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import {
  CallToolRequestSchema,
  GetPromptRequestSchema,
  isInitializeRequest,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";

/** A call that reached the server. */
export type Called = { readonly tool: string; readonly arguments: unknown };

const TOOLS = ["search", "read_file", "delete_repo"];
const RESOURCES = ["file:///project/notes.md", "file:///private/keys.md", "memo:opaque"];
const TEMPLATES = ["file:///project/{path}", "file:///private/{path}"];
const PROMPTS = ["review", "takeover"];

/**
 * An MCP server of the official SDK with tools, resources and prompts. `search` says its query, so that a
 * test can have it say anything; its answers are streams, or documents where the path ends in `json`.
 */
export class McpServer implements AsyncDisposable {
  readonly calls: Called[] = [];
  readonly heads: IncomingHttpHeaders[] = [];
  readonly #sessions = new Map<string, StreamableHTTPServerTransport>();
  readonly #servers = new Set<Server>();
  readonly #http: HttpServer;

  constructor() {
    this.#http = createServer((request, response) => {
      this.heads.push(request.headers);
      const handled = async () => {
        const body: unknown = request.method === "POST" ? await json(request) : undefined;
        const known = this.#sessions.get(String(request.headers["mcp-session-id"]));
        const opened =
          known ?? (isInitializeRequest(body) ? await this.#open(request.url) : undefined);
        if (opened === undefined) response.writeHead(404).end();
        else await opened.handleRequest(request, response, body);
      };
      handled().catch(() => response.destroy());
    });
  }

  /** Says something without being asked, to every session. */
  async announce(): Promise<void> {
    for (const server of this.#servers) await server.sendToolListChanged();
  }

  get sessionIds(): readonly string[] {
    return [...this.#sessions.keys()];
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
      onsessionclosed: (id) => void this.#sessions.delete(id),
    });
    const server = new Server(
      { name: "test", version: "1.0.0" },
      { capabilities: { tools: { listChanged: true }, resources: {}, prompts: {} } },
    );
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: TOOLS.map((name) => ({ name, inputSchema: { type: "object" as const } })),
    }));
    this.#servers.add(server);
    server.onclose = () => void this.#servers.delete(server);
    server.setRequestHandler(ListResourcesRequestSchema, () => ({
      resources: RESOURCES.map((uri) => ({ uri, name: uri })),
    }));
    server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
      resourceTemplates: TEMPLATES.map((uriTemplate) => ({ uriTemplate, name: uriTemplate })),
    }));
    server.setRequestHandler(ReadResourceRequestSchema, ({ params }) => {
      this.calls.push({ tool: params.uri, arguments: undefined });
      return { contents: [{ uri: params.uri, text: `content of ${params.uri}` }] };
    });
    server.setRequestHandler(ListPromptsRequestSchema, () => ({
      prompts: PROMPTS.map((name) => ({ name })),
    }));
    server.setRequestHandler(GetPromptRequestSchema, ({ params }) => ({
      messages: [{ role: "user" as const, content: { type: "text" as const, text: params.name } }],
    }));
    server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
      this.calls.push({ tool: params.name, arguments: params.arguments });
      return { content: [{ type: "text" as const, text: String(params.arguments?.query) }] };
    });
    // The SDK's own types differ in optional members only.
    await server.connect(transport as Parameters<Server["connect"]>[0]);
    return transport;
  }
}
