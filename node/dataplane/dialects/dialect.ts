import type { Verb } from "../../../authority/tools.ts";
import type { CallArguments } from "../../../policy/argument-rules.ts";
import type { Dialect } from "../../../policy/compiled-policy.ts";
import type { Reason } from "../../../proto/reasons.ts";
import type { Missing } from "../../decision/facts.ts";
import type { MayOffer, ToolsLeftOut } from "./leave-out-tools.ts";

/** JSON as parsed by the strict reader: no duplicate members, no lone surrogates, bounded depth. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | JsonValue[]
  | { [name: string]: JsonValue };
export type JsonObject = { [name: string]: JsonValue };

/** A path this gateway serves. */
export type Route = {
  /** Registry name: `openai.chat`, `openai.models`, `anthropic.messages`. */
  readonly id: string;
  readonly method: "GET" | "POST" | "DELETE";
  /** Exact path; `*` stands for a model's name. A query is refused unless the registry lists it. */
  readonly path: string;
  /** `delegate`: the node answers, and what it answers is a contract. */
  readonly kind: "generate" | "models" | "delegate";
  /** A request to it has no body. */
  readonly bodyless?: true;
  /** A request to it asks for a WebSocket, and none other does. */
  readonly isSession?: true;
};

/** A tool that is offered or called, or what stands for one: something that is read. */
export type ToolUse = {
  /** Undefined: it cannot be judged. */
  readonly name: string | undefined;
  /** What is done with it; absent: it is called. */
  readonly verb?: Verb;
  /** Of a call that is made here; absent: it is only offered, or is no call. */
  readonly arguments?: CallArguments;
};

/** A generate request in the words that every dialect shares. */
export type ReadRequest = {
  /** Empty where the path names it. */
  readonly model: string;
  readonly stream: boolean;
  readonly tools: readonly ToolUse[];
  /** Everything a person or program wrote, to be scanned: prompts, tool results, tool schemas. */
  readonly texts: readonly string[];
  readonly messages: number;
  /** The request's own output limit, tokens; undefined when it names none, 0 when none is written. */
  readonly maxOutputTokens: number | undefined;
  /** How many answers are asked for. */
  readonly choices: number;
  /** First parameter whose price or effect is not known here. */
  readonly unpricedParameter: string | undefined;
  /** The client asked for usage frames in its stream. */
  readonly wantsUsage: boolean;
  /** The provider bills no tokens for it, only the call. */
  readonly unbilled?: boolean;
  /** What an answer has to name: the id of a JSON-RPC request. */
  readonly answersTo?: string | number;
  /** Its answer is a stream that has no end of its own. */
  readonly openEnded?: true;
};

/** Tokens as a provider reports them; a later frame never lowers a member. */
export type Usage = {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly cacheWriteTokens: number;
  readonly outputTokens: number;
};

/** What one frame or one whole answer says, in neutral words. */
export type ResponsePart = {
  /** Text that a model wrote, tool arguments included, in the order of the answer. */
  readonly texts: readonly string[];
  /** Names of tools called, complete. */
  readonly toolNames: readonly string[];
  readonly usage: Usage | undefined;
  /** The dialect's own end of stream. */
  readonly last: boolean;
  /** The frame exists only because we asked for usage; it is not passed on. */
  readonly ours: boolean;
};

/** The parts of a refusal that every dialect words in its own envelope. */
export type RefusalWords = {
  readonly reason: Reason;
  readonly message: string;
  readonly requestId: string;
  readonly status: number;
  /** As in the request. */
  readonly answersTo?: string | number;
};

/** What a dialect is called; one that is a provider's main one has the name of its family. */
export type DialectName =
  | Dialect
  | "openai-responses"
  | "openai-embeddings"
  | "anthropic-count-tokens";

/** One provider API, both directions. Stateless; one file each. */
export type DialectAdapter = {
  readonly name: DialectName;
  /** The providers that speak it, as policy names them. */
  readonly family: Dialect;
  readonly routes: readonly Route[];
  /** Request headers that are passed on to the provider, lower case. */
  readonly passedHeaders: readonly string[];
  /** Response headers that are passed back, lower case. */
  readonly returnedHeaders: readonly string[];
  read(route: Route, body: JsonObject): ReadRequest | Missing;
  /** What is said of a body that is a list, where that is something of its own in the dialect. */
  readonly listRefused?: Missing;
  /**
   * The request without tools that may not be offered; undefined where none has to go. Absent for a
   * dialect whose requests offer none.
   */
  leaveOutTools?(body: JsonObject, mayOffer: MayOffer): ToolsLeftOut | undefined;
  /**
   * The body that goes upstream: the judged value with the upstream's model name, the output limit
   * when one was set, and usage asked for in streams.
   */
  upstreamBody(
    route: Route,
    body: JsonObject,
    set: { readonly model: string; readonly maxOutputTokens: number | undefined },
  ): JsonObject;
  /** The path that goes upstream, query included; the route's own where this is absent. */
  upstreamPath?(route: Route, model: string): string;
  /** Reads a whole JSON answer; undefined when it is not one of this dialect. */
  readAnswer(body: JsonValue, asked?: ReadRequest["answersTo"]): ResponsePart | undefined;
  /** A reader with the state of one stream. `frame` gets an SSE event's name and data. */
  streamReader(
    wantsUsage: boolean,
    asked?: ReadRequest["answersTo"],
  ): {
    /** Undefined: not readable as this dialect. */
    frame(event: string | undefined, data: string): ResponsePart | undefined;
  };
  /** Whether the provider chooses between a document and a stream, or to say nothing. */
  readonly answersInEitherForm?: true;
  /** The HTTP status of a refusal, where it is not the reason's own. */
  refusalStatus?(words: RefusalWords): number;
  refusal(words: RefusalWords): { readonly contentType: string; readonly body: Uint8Array };
  /** The frame that tells a client of a cut stream that it is an error, never an end. */
  cutFrame(words: RefusalWords): Uint8Array;
  /** The list of models, limited to those granted. */
  modelList(models: readonly { readonly name: string; readonly provider: string }[]): JsonObject;
  /** Header that carries the provider's credential. */
  credentialHeader(secret: string): readonly [name: string, value: string];
};
