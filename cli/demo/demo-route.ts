import type { SaidByPath } from "./demo-request.ts";
import type { DemoWire } from "./demo-wire.ts";
import { OPENAI_WIRE } from "./demo-wire-chat.ts";
import { COUNT_WIRE, EMBEDDINGS_WIRE } from "./demo-wire-counted.ts";
import { GEMINI_WIRE } from "./demo-wire-gemini.ts";
import { ANTHROPIC_WIRE } from "./demo-wire-messages.ts";
import { RESPONSES_WIRE } from "./demo-wire-responses.ts";

/** How a path's answers are put on the wire, and what the path itself asks for. */
export type DemoRoute = { readonly wire: DemoWire; readonly said: SaidByPath };

const WIRES: ReadonlyMap<string, DemoWire> = new Map([
  ["/v1/chat/completions", OPENAI_WIRE],
  ["/v1/responses", RESPONSES_WIRE],
  ["/v1/embeddings", EMBEDDINGS_WIRE],
  ["/v1/messages", ANTHROPIC_WIRE],
  ["/v1/messages/count_tokens", COUNT_WIRE],
]);

const GEMINI = /^\/v1(?:beta)?\/models\/([^/:]+):(generateContent|streamGenerateContent)$/;

/** The route of a path that is asked by POST; undefined: there is none. */
export function demoRoute(path: string): DemoRoute | undefined {
  const wire = WIRES.get(path);
  if (wire !== undefined) return { wire, said: {} };
  const [, model, action] = GEMINI.exec(path) ?? [];
  if (model === undefined) return undefined;
  return { wire: GEMINI_WIRE, said: { model, stream: action === "streamGenerateContent" } };
}

/** How errors and lists of models are put for a path that may not exist. */
export function wireNear(
  path: string,
  { anthropic, google }: { readonly anthropic: boolean; readonly google: boolean },
): DemoWire {
  if (google || path.startsWith("/v1beta/")) return GEMINI_WIRE;
  return anthropic || path.startsWith("/v1/messages") ? ANTHROPIC_WIRE : OPENAI_WIRE;
}
