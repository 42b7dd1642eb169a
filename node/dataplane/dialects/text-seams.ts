import { SCAN_LIMITS } from "../scan/scan-limits.ts";
import type { JsonValue } from "./dialect.ts";
import { asObject } from "./json-shape.ts";

/** So far into a text a match reaches, by the bound of streams' rules: a character is a byte or more. */
const REACH_CHARS = SCAN_LIMITS.streamMatchBytesMax;

/**
 * The texts across the places where the parts of one message meet, to be scanned beside the parts
 * themselves: providers hand neighbouring texts to a model as one, in which a match may lie that
 * none of them has whole.
 *
 * Of long parts there is no more in them than a match can reach, so that a prompt in two halves is
 * not scanned twice.
 */
export function textSeams(parts: readonly JsonValue[]): readonly string[] {
  const seams: string[] = [];
  let seam = "";
  let joined = 0;
  const end = (): void => {
    if (joined > 1) seams.push(seam);
  };
  for (const part of parts) {
    const text = asObject(part)?.text;
    // What is no text stands between its neighbours for a model too.
    if (typeof text !== "string") {
      end();
      joined = 0;
    } else if (joined === 0) {
      seam = text.slice(-REACH_CHARS);
      joined = 1;
    } else if (text.length <= 2 * REACH_CHARS) {
      seam += text;
      joined += 1;
    } else {
      seams.push(seam + text.slice(0, REACH_CHARS));
      seam = text.slice(-REACH_CHARS);
      joined = 1;
    }
  }
  end();
  return seams;
}
