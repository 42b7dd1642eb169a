import type { RelayDialect } from "./answer-part.ts";
import type { JsonObject, RefusalWords, Route } from "./dialect.ts";
import { geminiStreamReader, readGeminiAnswer } from "./gemini-answer.ts";
import { readGeminiRequest } from "./gemini-request.ts";
import { leaveOutDeclarations } from "./gemini-tools.ts";
import { asObject } from "./json-shape.ts";

const STREAM = ":streamGenerateContent";

/** Both versions of the API are in use: the official client's default has changed. */
const ROUTES: readonly Route[] = ["v1", "v1beta"].flatMap((version) => [
  {
    id: `gemini.generate.${version}`,
    method: "POST",
    path: `/${version}/models/*:generateContent`,
    kind: "generate",
  },
  {
    id: `gemini.stream.${version}`,
    method: "POST",
    path: `/${version}/models/*${STREAM}`,
    kind: "generate",
  },
  { id: `gemini.models.${version}`, method: "GET", path: `/${version}/models`, kind: "models" },
]);

/** What a stream asks for is in its path, not in its body. */
const isStream = ({ path }: Route): boolean => path.endsWith(STREAM);

/**
 * Gemini's generateContent and streamGenerateContent. The model is in the path, and a stream is one of
 * server-sent events only; its other form, a list that is sent bit by bit, is not served.
 *
 * @see https://ai.google.dev/api/generate-content
 */
export const GEMINI_GENERATE: RelayDialect = {
  name: "gemini",
  family: "gemini",
  routes: ROUTES,
  passedHeaders: ["accept"],
  returnedHeaders: ["content-type", "retry-after", "retry-after-ms"],
  settableMembers: ["generationConfig", "generation_config"],
  read: (route, body) => readGeminiRequest(body, isStream(route)),
  leaveOutTools: leaveOutDeclarations,
  upstreamBody: (_route, body, set) => withLimit(body, set.maxOutputTokens),
  upstreamPath: (route, model) =>
    route.path.replace("*", encodeURIComponent(model)) + (isStream(route) ? "?alt=sse" : ""),
  readAnswer: readGeminiAnswer,
  streamReader: geminiStreamReader,
  refusal: (words) => ({
    contentType: "application/json",
    body: Buffer.from(JSON.stringify(errorOf(words))),
  }),
  cutFrame: (words) => Buffer.from(`data: ${JSON.stringify(errorOf(words))}\n\n`),
  modelList: (models) => ({
    models: models.map(({ name }) => ({
      name: `models/${name}`,
      displayName: name,
      supportedGenerationMethods: ["generateContent"],
    })),
  }),
  credentialHeader: (secret) => ["x-goog-api-key", secret],
};

/** The limit goes into the configuration as it is spelt in the request. */
function withLimit(body: JsonObject, maxOutputTokens: number | undefined): JsonObject {
  if (maxOutputTokens === undefined) return body;
  const member = Object.hasOwn(body, "generation_config")
    ? "generation_config"
    : "generationConfig";
  const { max_output_tokens: _, ...config } = asObject(body[member]) ?? {};
  return { ...body, [member]: { ...config, maxOutputTokens } };
}

function errorOf({ reason, message, requestId, status }: RefusalWords): JsonObject {
  return {
    error: {
      code: status,
      message: `${message} (request ${requestId})`,
      status: statusName(status),
      details: [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason, domain: "altrace" }],
    },
  };
}

/** @see https://cloud.google.com/apis/design/errors#error_model */
function statusName(status: number): string {
  switch (status) {
    case 401:
      return "UNAUTHENTICATED";
    case 403:
      return "PERMISSION_DENIED";
    case 404:
    case 405:
      return "NOT_FOUND";
    case 402:
    case 429:
      return "RESOURCE_EXHAUSTED";
    case 503:
      return "UNAVAILABLE";
    case 408:
    case 504:
      return "DEADLINE_EXCEEDED";
    default:
      return status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
  }
}
