import type { ClientLeg } from "./client-leg.ts";
import { ANSWER_DEPTH_MAX } from "./dialects/json-shape.ts";
import { RELAY_LIMITS } from "./relay-limits.ts";
import { parseStrict } from "./strict-json.ts";

/**
 * Relays an answer that is one JSON document: kept until it is whole, judged, then sent as it came.
 *
 * The bytes may stay the provider's because they have one reading: a member named twice is refused.
 */
export class JsonRelay {
  readonly #leg: ClientLeg;
  readonly #headers: readonly string[];
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(leg: ClientLeg, headers: readonly string[]) {
    this.#leg = leg;
    this.#headers = headers;
  }

  data(chunk: Uint8Array): boolean {
    this.#bytes += chunk.length;
    if (this.#bytes > RELAY_LIMITS.answerBytesMax) {
      this.#leg.object("response_unscannable");
      return false;
    }
    this.#chunks.push(chunk);
    return true;
  }

  end(): void {
    const leg = this.#leg;
    const body = Buffer.concat(this.#chunks, this.#bytes);
    const parsed = parseStrict(body, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
    const part = "value" in parsed ? leg.input.dialect.readAnswer(parsed.value) : undefined;
    if (part === undefined) {
      leg.object("response_unscannable");
      return;
    }
    leg.addUsage(part.usage);
    leg.scan.readWhole(part);
    if (leg.objectToKill() || leg.objectToScan()) return;
    const refused = part.toolNames.find((name) => !leg.input.toolGranted(name));
    if (refused !== undefined) leg.object("tool_call_not_granted", refused);
    else leg.answer(200, this.#headers, body);
  }
}
