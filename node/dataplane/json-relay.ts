import { CallJudge, type CallObjection } from "./call-judge.ts";
import type { ClientLeg } from "./client-leg.ts";
import type { AnswerPart } from "./dialects/answer-part.ts";
import { ANSWER_DEPTH_MAX } from "./dialects/json-shape.ts";
import { GrowingBytes } from "./growing-bytes.ts";
import { parseStrict } from "./strict-json.ts";

/**
 * Relays an answer that is one JSON document: kept until it is whole, judged, then sent as it came.
 *
 * The bytes may stay the provider's because they have one reading: a member named twice is refused.
 */
export class JsonRelay {
  readonly #leg: ClientLeg;
  readonly #headers: readonly string[];
  readonly #bytes = new GrowingBytes();

  constructor(leg: ClientLeg, headers: readonly string[]) {
    this.#leg = leg;
    this.#headers = headers;
  }

  data(chunk: Uint8Array): boolean {
    if (this.#bytes.length + chunk.length > this.#leg.input.answerBytesMax) {
      this.#leg.object("response_too_large");
      return false;
    }
    this.#bytes.add(chunk);
    return true;
  }

  end(): void {
    const leg = this.#leg;
    const body = this.#bytes.take();
    const parsed = parseStrict(body, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
    const { dialect, answersTo } = leg.input;
    const part = "value" in parsed ? dialect.readAnswer(parsed.value, answersTo) : undefined;
    if (part === undefined) {
      leg.object("response_unscannable");
      return;
    }
    leg.addUsage(part.usage);
    leg.scan.readWhole(part);
    leg.scan.readRounded(part, () => Buffer.from(body).toString("latin1"));
    if (leg.objectToKill() || leg.objectToScan()) return;
    if (leg.showsCredential(body)) {
      leg.object("credential_in_response");
      return;
    }
    const refused = part.toolNames.find((name) => !leg.input.toolGranted(name));
    const objection = callObjection(part, leg);
    if (refused !== undefined) leg.object("tool_call_not_granted", refused);
    else if (objection !== undefined) leg.objectToCall(objection);
    else leg.answer(200, this.#headers, withGrantedTools(part, leg) ?? body);
  }
}

function callObjection({ calls }: AnswerPart, leg: ClientLeg): CallObjection | undefined {
  const { argumentRules } = leg.input;
  if (argumentRules === undefined || calls.length === 0) return undefined;
  const judge = new CallJudge(argumentRules);
  judge.read(calls);
  judge.end();
  return judge.objection;
}

/** A list of tools shows those that are granted, and no others. */
function withGrantedTools(part: AnswerPart, leg: ClientLeg): Uint8Array | undefined {
  const own = part.rewritten?.((name, verb) => leg.input.toolGranted(name, verb));
  return own === undefined ? undefined : Buffer.from(own);
}
