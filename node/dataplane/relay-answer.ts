import type { Reason } from "../../proto/reasons.ts";
import type { BodyRelay } from "./body-relay.ts";
import { ClientLeg, type RelayInput } from "./client-leg.ts";
import { type Encoding, encodingOf } from "./content-encoding.ts";
import { DecodedRelay } from "./decoded-relay.ts";
import { EmptyRelay } from "./empty-relay.ts";
import { ErrorRelay } from "./error-relay.ts";
import { JsonRelay } from "./json-relay.ts";
import { SseRelay } from "./sse-relay.ts";
import type { ResponseSink, UpstreamHandle } from "./upstream-leg.ts";

/** Takes a provider's answer, until it is told that it may not go on. */
export type AnswerSink = ResponseSink & {
  /** Ends the answer for a reason that came from outside of it. False: it was over before. */
  close(reason: Reason): boolean;
};

/**
 * Relays one provider's answer to one client: the sink for `forward`.
 *
 * From this call on it owns the client's answer: it hears kills, drains and the client's leaving, and
 * says the exchange's last word, whatever happens, and tells its outcome once.
 */
export function relayAnswer(input: RelayInput): AnswerSink {
  return new AnswerRelay(new ClientLeg(input));
}

class AnswerRelay implements AnswerSink {
  readonly #leg: ClientLeg;
  #body: BodyRelay | undefined;

  constructor(leg: ClientLeg) {
    this.#leg = leg;
  }

  attach(handle: UpstreamHandle): void {
    this.#leg.attach(handle);
  }

  close(reason: Reason): boolean {
    if (this.#leg.over) return false;
    this.#leg.object(reason);
    return true;
  }

  onHead(status: number, rawHeaders: readonly string[]): void {
    const leg = this.#leg;
    if (leg.over) return;
    const head = readHead(rawHeaders, leg.input.dialect.returnedHeaders, leg.input.sessionGiven);
    const passed = status >= 400 ? head.withoutType : head.returned;
    for (let index = 1; index < passed.length; index += 2) {
      const value = passed[index] as string;
      if (!SAYS_ITSELF.test(value)) leg.scan.whole(value);
    }
    if (leg.objectToScan()) return;
    const body = this.#relayOf(status, head);
    if (body === undefined) leg.object("response_unscannable");
    else if (head.encoding === undefined || leg.over) this.#body = body;
    else this.#body = new DecodedRelay(leg, head.encoding, body);
  }

  /** Undefined: nobody can say what this answer is. */
  #relayOf(status: number, head: AnswerHead): BodyRelay | undefined {
    const { dialect, stream: isAsked } = this.#leg.input;
    const isEither = dialect.answersInEitherForm === true;
    const stream = isEither ? head.type === "text/event-stream" : isAsked;
    if (status >= 400) return new ErrorRelay(this.#leg, status, head.withoutType);
    if (isEither && (SAYS_NOTHING.has(status) || (status === 200 && head.type === ""))) {
      return new EmptyRelay(this.#leg, status === 204 ? 200 : status, head.withoutType);
    }
    if (status !== 200 || !head.isReadable) return undefined;
    if (stream && head.type === "text/event-stream") return new SseRelay(this.#leg, head.returned);
    // A stream's reader would take a document for an empty stream, and so for an end.
    const isDocument = !stream && head.type === "application/json";
    return isDocument ? new JsonRelay(this.#leg, head.returned) : undefined;
  }

  onData(chunk: Uint8Array): boolean {
    return this.#leg.over || (this.#body?.data(chunk) ?? true);
  }

  onEnd(): void {
    if (!this.#leg.over) this.#body?.end();
  }

  onError(reason: Reason): void {
    // A bug of ours may be one in the end.
    if (reason !== "stage_failed" && this.#body?.complete === true) this.#body.end();
    else this.#leg.object(reason);
  }
}

type AnswerHead = {
  /** Media type, lower case, without parameters. */
  readonly type: string;
  /** The body is compressed although we asked for it not to be. */
  readonly encoding: Encoding | undefined;
  /** False: in a way that is not known here, or in more than one. */
  readonly isReadable: boolean;
  /** Headers that are passed on, flat. */
  readonly returned: readonly string[];
  readonly withoutType: readonly string[];
};

/** Values of headers that need no scan, as nearly all are: a type that is known, a short number. */
const SAYS_ITSELF =
  /^(?:(?:application\/json|text\/event-stream)(?:; ?charset=utf-8)?|[0-9]{1,5})$/i;

/** The id in it is the server's own, which no client is told. */
const SESSION = "mcp-session-id";

/** As nearly all documents are called. */
const JSON_TYPE = "application/json";

/** An MCP server has nothing to say to a notification, or to the end of a session. */
const SAYS_NOTHING: ReadonlySet<number> = new Set([202, 204]);

function readHead(
  rawHeaders: readonly string[],
  allowed: readonly string[],
  sessionGiven: RelayInput["sessionGiven"],
): AnswerHead {
  const returned: string[] = [];
  const withoutType: string[] = [];
  let type = "";
  let typed = false;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string).toLowerCase();
    const value = rawHeaders[index + 1] as string;
    // Of two types the client would be told the first: an answer that has them cannot be read.
    if (name === "content-type") type = typed ? "" : mediaType(value);
    if (name === "content-type") typed = true;
    // A header that comes twice is passed on once: of two values a client may read either.
    if (!allowed.includes(name) || returned.includes(name)) continue;
    const shown = name === SESSION ? (sessionGiven?.(value) ?? value) : value;
    returned.push(name, shown);
    if (name !== "content-type") withoutType.push(name, shown);
  }
  const encoding = encodingOf(rawHeaders);
  const isReadable = typeof encoding !== "object";
  return { type, encoding: isReadable ? encoding : undefined, isReadable, returned, withoutType };
}

/** Empty for a text in another encoding than ours: its client would read other words in it. */
function mediaType(value: string): string {
  if (value === JSON_TYPE) return JSON_TYPE;
  const [type = "", ...parameters] = value.toLowerCase().split(";");
  return parameters.some(isOtherCharset) ? "" : type.trim();
}

const CHARSET = /^\s*charset\s*=/;
const UTF8 = /^\s*charset\s*=\s*"?utf-?8"?\s*$/;

function isOtherCharset(parameter: string): boolean {
  return CHARSET.test(parameter) && !UTF8.test(parameter);
}
