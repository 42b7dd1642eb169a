import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { systemClock } from "../../adapters/system-clock.ts";
import type { Clock } from "../../ports/clock.ts";
import { http } from "../../ports/http-module.ts";
import { pause } from "../../ports/pause.ts";
import { type DemoAnswer, demoAnswer, limited } from "./demo-answer.ts";
import { type DemoRequest, readDemoRequest } from "./demo-request.ts";
import { demoRoute, wireNear } from "./demo-route.ts";
import { countTokens } from "./demo-tokens.ts";
import type { DemoToolCall, DemoWire } from "./demo-wire.ts";

export type DemoProviderOptions = {
  /** 0 takes a free one. */
  readonly port: number;
  readonly host?: string;
  readonly clock?: Clock;
  /** Between two words of a stream, ms. */
  readonly wordDelayMs?: number;
};

export type DemoProvider = {
  /** Scheme, host and port, to be named as a provider's base URL. */
  readonly origin: string;
  /** Ends all answers and stops. */
  close(): Promise<void>;
};

/** What it says it serves. It answers for every name, since it is the policy that names models. */
export const DEMO_MODELS: readonly string[] = ["demo-small", "demo-large"];

const WORD_DELAY_MS = 15;

/**
 * A model provider on this machine that speaks every dialect, for demonstrations and tests.
 *
 * It counts tokens, honours output limits, streams word by word, and does what directives in the
 * prompt say (see demo-answer.ts). It knows nothing: an answer follows from its prompt alone. Like a
 * real one it refuses requests without a credential, though it takes any.
 */
export async function startDemoProvider(options: DemoProviderOptions): Promise<DemoProvider> {
  const { port, host = "127.0.0.1", clock = systemClock, wordDelayMs = WORD_DELAY_MS } = options;
  const pace: Pace = { clock, wordDelayMs };
  const server: Server = http.createServer((request, response) => {
    serve(request, response, pace).catch(() => response.destroy());
  });
  server.listen(port, host);
  await once(server, "listening");
  const { port: taken } = server.address() as AddressInfo;
  return {
    origin: `http://${host.includes(":") ? `[${host}]` : host}:${taken}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

const CREDENTIALS = ["authorization", "x-api-key", "x-goog-api-key"] as const;
const MODEL_LISTS = new Set(["/v1/models", "/v1beta/models"]);

type Pace = { readonly clock: Clock; readonly wordDelayMs: number };

async function serve(request: IncomingMessage, response: ServerResponse, pace: Pace) {
  const { method = "", url = "", headers } = request;
  const path = url.split("?", 1)[0] as string;
  const near = wireNear(path, {
    anthropic: headers["anthropic-version"] !== undefined,
    google: headers["x-goog-api-key"] !== undefined,
  });
  if (CREDENTIALS.every((name) => headers[name] === undefined)) {
    return sendJson(response, 401, near.error(401, "No credential was sent."));
  }
  if (method === "GET" && MODEL_LISTS.has(path)) {
    return sendJson(response, 200, near.models(DEMO_MODELS));
  }
  const route = method === "POST" ? demoRoute(path) : undefined;
  if (route === undefined) {
    return sendJson(response, 404, near.error(404, `There is no ${method} ${path}.`));
  }
  const { wire, said } = route;
  const asked = readDemoRequest(await text(request), said);
  if (asked === undefined) {
    return sendJson(response, 400, wire.error(400, "A model and messages are needed."));
  }
  const answer = demoAnswer(asked.prompt);
  if (answer.waitMs > 0) await pause(pace.clock, answer.waitMs);
  if (answer.failStatus !== undefined) {
    const { failStatus } = answer;
    return sendJson(response, failStatus, wire.error(failStatus, "The prompt asked for it."));
  }
  const tool = asked.offersTools ? answer.toolCall : undefined;
  if (asked.stream) await sendStream(response, { asked, answer, wire, tool, pace });
  else sendWhole(response, { asked, answer, wire, tool });
}

type Said = {
  readonly asked: DemoRequest;
  readonly answer: DemoAnswer;
  readonly wire: DemoWire;
  readonly tool: DemoToolCall | undefined;
};

function sendWhole(response: ServerResponse, { asked, answer, wire, tool }: Said): void {
  if (tool !== undefined) {
    const end = { text: tool.json, outputTokens: countTokens(tool.json), cut: false };
    sendJson(response, 200, wire.whole(asked, "", tool, end));
    return;
  }
  const words = limited(answer.pieces, asked.tokensMax);
  let said = "";
  for (;;) {
    const { value, done } = words.next();
    if (done) {
      const end = { text: said.trimEnd(), outputTokens: value.tokens, cut: value.cut };
      sendJson(response, 200, wire.whole(asked, end.text, undefined, end));
      return;
    }
    said += value;
  }
}

async function sendStream(response: ServerResponse, said: Said & { readonly pace: Pace }) {
  const { asked, answer, wire, tool, pace } = said;
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  if (!(await write(response, wire.open(asked, tool)))) return;
  const pieces = tool === undefined ? answer.pieces : (tool.json.match(/[\s\S]{1,8}/g) ?? []);
  const words = limited(pieces, asked.tokensMax);
  let text = "";
  for (let count = 0; ; count++) {
    const { value, done } = words.next();
    if (done) {
      response.end(wire.close(asked, tool, { text, outputTokens: value.tokens, cut: value.cut }));
      return;
    }
    if (count === answer.breakAfter) {
      // What was written in this turn goes out with it; the end of the answer never does.
      setImmediate(() => response.socket?.destroySoon());
      return;
    }
    text += value;
    if (!(await write(response, wire.piece(asked, value, tool)))) return;
    if (pace.wordDelayMs > 0) await pause(pace.clock, pace.wordDelayMs);
  }
}

/** Waits for a slow reader. False: nobody reads any more. */
async function write(response: ServerResponse, frames: string): Promise<boolean> {
  if (response.destroyed) return false;
  if (response.write(frames)) return true;
  const left = new AbortController();
  const { signal } = left;
  const gone = once(response, "close", { signal });
  try {
    await Promise.race([once(response, "drain", { signal }), gone]);
  } finally {
    left.abort();
    gone.catch(() => {});
  }
  return !response.destroyed;
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
