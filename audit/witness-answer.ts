import { cosignedAt } from "./checkpoint.ts";
import { parseSignatureLine, signatureLine, type VerifierKey } from "./signed-note.ts";
import { strictDecimal, strictUtf8 } from "./strict-text.ts";

/** How far a witness's clock may be from ours, s. Further, and its cosignature would date records wrongly. */
export const WITNESS_CLOCK_SKEW_S_MAX = 300;
const DETAIL_CHARS_MAX = 120;

/** What a witness answered to `add-checkpoint`, as far as it is of the protocol. */
export type WitnessHeard =
  /** Its line, which is checked, in our own spelling. */
  | { readonly t: "cosigned"; readonly line: string; readonly timeSeconds: number }
  /** It has cosigned another size last. */
  | { readonly t: "elsewhere"; readonly size: number }
  /** It was not told of the log. */
  | { readonly t: "unknown" }
  /** What it has seen of the log does not lead to this. */
  | { readonly t: "inconsistent"; readonly detail: string }
  /** It will not cosign this, whoever's fault that is. */
  | { readonly t: "refused"; readonly detail: string }
  /** It cannot now. */
  | { readonly t: "unanswered"; readonly detail: string };

/**
 * Reads the answer of a witness. A cosignature is one only if this witness made it of this text, lately.
 *
 * @param of.text The checkpoint's text.
 * @see https://c2sp.org/tlog-witness
 */
export function readWitnessAnswer(
  { status, body }: { readonly status: number; readonly body: Uint8Array },
  of: { readonly key: VerifierKey; readonly text: string; readonly nowMs: number },
): WitnessHeard {
  const said = strictUtf8(body) ?? "";
  const detail = detailOf(status, said);
  switch (status) {
    case 200:
      return cosignatureIn(said, of);
    case 409: {
      const size = strictDecimal(said.replace(/\n$/, ""));
      return size === undefined ? { t: "refused", detail } : { t: "elsewhere", size };
    }
    case 404:
      return { t: "unknown" };
    case 422:
      return { t: "inconsistent", detail };
    case 408:
    case 425:
    case 429:
      return { t: "unanswered", detail };
    default:
      return status >= 500 ? { t: "unanswered", detail } : { t: "refused", detail };
  }
}

function cosignatureIn(
  said: string,
  {
    key,
    text,
    nowMs,
  }: { readonly key: VerifierKey; readonly text: string; readonly nowMs: number },
): WitnessHeard {
  // Lines by other keys, and in formats of later days, are not ours to judge.
  const own = said
    .split("\n")
    .flatMap((line) => parseSignatureLine(line) ?? [])
    .filter(({ name, id }) => name === key.name && id === key.id);
  const [first] = own;
  if (first === undefined) return { t: "refused", detail: `no cosignature by ${key.name}` };
  const times = own.map(({ bytes }) => cosignedAt(key, text, bytes));
  const [timeSeconds] = times;
  if (timeSeconds === undefined || times.includes(undefined)) {
    return { t: "refused", detail: `the cosignature by ${key.name} is wrong` };
  }
  if (Math.abs(timeSeconds - nowMs / 1_000) > WITNESS_CLOCK_SKEW_S_MAX) {
    return { t: "refused", detail: `the cosignature by ${key.name} is of another time` };
  }
  return { t: "cosigned", line: signatureLine(key, first.bytes), timeSeconds };
}

/** For people: a witness may say what it likes, and it is printed. */
function detailOf(status: number, said: string): string {
  const words = said.replace(/[^\x20-\x7e]+/g, " ").trim();
  return `${status} ${words.slice(0, DETAIL_CHARS_MAX)}`.trim();
}
