import type { Verb } from "../../../authority/tools.ts";
import { parseStrictText } from "../strict-json.ts";
import { type AnswerPart, type AnswerReader, PartDraft, type ToolGranted } from "./answer-part.ts";
import { collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue } from "./dialect.ts";
import { foldedName } from "./folded-names.ts";
import { ANSWER_DEPTH_MAX, asObject } from "./json-shape.ts";
import { plainName, resourceName } from "./mcp-names.ts";
import { textSeams } from "./text-seams.ts";

/** Calls are priced; what they bring back is not. */
const NOTHING = { inputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 0 };

/** What was asked: the id of the request; undefined for what nobody answers. */
type Asked = string | number | undefined;

/** Reads an answer that is one message. */
export function readMcpAnswer(body: JsonValue, asked?: Asked): AnswerPart | undefined {
  const part = readMessage(asObject(body), asked);
  return part?.last === true ? part : undefined;
}

/** Reads the messages that come before the answer, and the answer, after which there is nothing. */
export function mcpStreamReader(_wantsUsage: boolean, asked?: Asked): AnswerReader {
  return {
    frame: (event, data) => {
      // A first event without data is there so that a client can resume; this one cannot.
      if (data === "") return new PartDraft();
      if (event !== undefined && event !== "message") return undefined;
      const parsed = parseStrictText(data, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
      return "value" in parsed ? readMessage(asObject(parsed.value), asked) : undefined;
    },
  };
}

/**
 * A message of a server: its answer, or word of something. A question to the client is neither: what
 * it asks for (a model's answer, a person's) no grant speaks of, so it makes the answer unreadable.
 * So does an answer to something else, behind which the one that is waited for would be dropped.
 */
function readMessage(message: JsonObject | undefined, asked: Asked): AnswerPart | undefined {
  if (message?.jsonrpc !== "2.0") return undefined;
  if (foldedName(Object.keys(message), MESSAGE_NAMES) !== undefined) return undefined;
  const part = new PartDraft();
  collectTexts(message, part.aside);
  if (message.method !== undefined) {
    const tells = typeof message.method === "string" && message.id === undefined;
    return tells && message.result === undefined ? part : undefined;
  }
  const { result, error } = message;
  if ((result === undefined) === (error === undefined)) return undefined;
  if (!answers(message, asked)) return undefined;
  part.last = true;
  part.usage = NOTHING;
  const listed = asObject(result);
  // Some clients would take it for the list, and nothing of it was left out.
  if (foldedName(Object.keys(listed ?? {}), LIST_NAMES) !== undefined) return undefined;
  // What a tool says goes to a model as one text.
  const said = Array.isArray(listed?.content) ? textSeams(listed.content) : [];
  for (const seam of said) part.aside.push(seam);
  if (listed !== undefined && LISTS.some(({ member }) => Array.isArray(listed[member]))) {
    part.rewritten = (granted) =>
      JSON.stringify({ ...message, result: withGranted(listed, granted) });
  }
  return part;
}

/** Clients take a number that came back as a text for theirs; who could not read a request does not know its id. */
function answers({ id, error }: JsonObject, asked: Asked): boolean {
  if (id === undefined || id === null) return error !== undefined || asked === undefined;
  const isId = typeof id === "string" || typeof id === "number";
  return isId && asked !== undefined && String(id) === String(asked);
}

/** The lists of an answer, and the name and the way by which what stands in them is granted. */
const LISTS: readonly {
  readonly member: string;
  readonly nameOf: (item: JsonObject) => string | undefined;
  /** Absent: it is there to be called. */
  readonly verb?: Verb;
}[] = [
  { member: "tools", nameOf: ({ name }) => plainName(name) },
  { member: "prompts", nameOf: ({ name }) => plainName(name), verb: "read" },
  { member: "resources", nameOf: ({ uri }) => resourceName(uri), verb: "read" },
  // What a template stands for is judged where it is read; itself it is shown with what lies beside it.
  { member: "resourceTemplates", nameOf: templateName, verb: "read" },
];

const MESSAGE_NAMES: ReadonlySet<string> = new Set(["id", "method", "params", "result", "error"]);

const LIST_NAMES: ReadonlySet<string> = new Set([...LISTS.map(({ member }) => member), "content"]);

/** What the lists' items are granted by. */
const NAMES: ReadonlySet<string> = new Set(["name", "uri", "uriTemplate"]);

/** A result with that left of its lists that is granted. What has no name is not, nor what has one in two spellings. */
function withGranted(result: JsonObject, granted: ToolGranted): JsonObject {
  const left: JsonObject = { ...result };
  for (const { member, nameOf, verb } of LISTS) {
    const items = result[member];
    if (!Array.isArray(items)) continue;
    left[member] = items.filter((one) => {
      const item = asObject(one);
      if (item === undefined || foldedName(Object.keys(item), NAMES) !== undefined) return false;
      const name = nameOf(item);
      return name !== undefined && granted(name, verb);
    });
  }
  return left;
}

/** A template with a plain word in the place of each of its variables. */
function templateName({ uriTemplate }: JsonObject): string | undefined {
  if (typeof uriTemplate !== "string") return undefined;
  return resourceName(uriTemplate.replaceAll(/\{[A-Za-z0-9_.,%]{1,64}\}/g, "x"));
}
