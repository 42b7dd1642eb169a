import type { BodyRelay } from "./body-relay.ts";
import type { ClientLeg } from "./client-leg.ts";
import { collectTexts } from "./dialects/collect-texts.ts";
import type { JsonValue } from "./dialects/dialect.ts";
import { ANSWER_DEPTH_MAX, asObject } from "./dialects/json-shape.ts";
import { GrowingBytes } from "./growing-bytes.ts";
import { RELAY_LIMITS } from "./relay-limits.ts";
import { parseStrict } from "./strict-json.ts";

/**
 * Relays a provider's error: its status, and its words without key material.
 *
 * Providers show the key that they refused, and some echo the request, so what cannot be read in the
 * dialect is replaced by words of our own, and what can is scrubbed and scanned.
 */
export class ErrorRelay implements BodyRelay {
  readonly #leg: ClientLeg;
  readonly #status: number;
  readonly #headers: readonly string[];
  readonly #bytes = new GrowingBytes();
  #isTooLong = false;

  /** @param headers Flat; without the type of the body, which is always JSON. */
  constructor(leg: ClientLeg, status: number, headers: readonly string[]) {
    this.#leg = leg;
    this.#status = status;
    this.#headers = headers;
  }

  data(chunk: Uint8Array): boolean {
    // Nothing of it will be passed on, but its end is awaited: the connection can then be reused.
    this.#isTooLong ||= this.#bytes.length + chunk.length > RELAY_LIMITS.errorBytesMax;
    if (this.#isTooLong) this.#bytes.take();
    else this.#bytes.add(chunk);
    return true;
  }

  end(): void {
    const leg = this.#leg;
    // What it says of the request would be an answer to it.
    if (leg.objectToKill()) return;
    const value = this.#isTooLong ? undefined : this.#read();
    if (value === undefined) {
      this.#answer(this.#ownWords());
      return;
    }
    const scrubbed = mapTexts(value, (text) => leg.input.scrub(text));
    const texts: string[] = [];
    collectTexts(scrubbed, texts);
    for (const text of texts) leg.scan.whole(text);
    if (leg.scan.objection !== undefined) this.#answer(this.#ownWords());
    else this.#answer(Buffer.from(JSON.stringify(scrubbed)));
  }

  /** Its status says enough. */
  unreadable(): void {
    if (!this.#leg.objectToKill()) this.#answer(this.#ownWords());
  }

  #read(): JsonValue | undefined {
    const parsed = parseStrict(this.#bytes.take(), {
      depthMax: ANSWER_DEPTH_MAX,
      mustRoundTrip: false,
    });
    if (!("value" in parsed)) return undefined;
    // Both dialects put their words under `error`; what has none is of some proxy on the way.
    return asObject(asObject(parsed.value)?.error) === undefined ? undefined : parsed.value;
  }

  #ownWords(): Uint8Array {
    const { dialect, exchange } = this.#leg.input;
    return dialect.refusal({
      reason: "upstream_failed",
      message: `The provider answered with status ${this.#status}.`,
      requestId: exchange.requestId,
      status: this.#status,
    }).body;
  }

  #answer(body: Uint8Array): void {
    const headers = [...this.#headers, "content-type", "application/json"];
    this.#leg.answer(this.#status, headers, body);
  }
}

/** The same value with every text, names of members included, put through a function. */
function mapTexts(value: JsonValue, map: (text: string) => string): JsonValue {
  if (typeof value === "string") return map(value);
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, map));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [map(name), mapTexts(member, map)]),
  );
}
