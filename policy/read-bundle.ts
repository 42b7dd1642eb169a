import { canonicalPieces, type PlainJson } from "./canonical-json.ts";
import type { ContentScanner } from "./content-scanner.ts";
import { BUNDLE_BYTES_MAX } from "./defaults.ts";
import { NO_PLACE, nodeOfJson } from "./document-node.ts";
import { type Finding, Findings } from "./findings.ts";
import type { PolicyDocument } from "./policy-document.ts";
import { readDocument } from "./read-document.ts";

export type ReadBundle =
  | { readonly ok: true; readonly document: PolicyDocument }
  | { readonly ok: false; readonly findings: readonly Finding[] };

/**
 * Reads a bundle as strictly as a file, and its JSON more strictly: only the canonical spelling is
 * taken, so that no two readers can see two policies in it (a key twice, for one).
 *
 * @param scanner Left out by readers that do not enforce; rules are then not tried on the engine.
 */
export function readBundle(bundle: Uint8Array, scanner?: ContentScanner): ReadBundle {
  const steps = readBundleInSlices(bundle, scanner);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same in slices, for a thread that may not be away for long. */
export function* readBundleInSlices(
  bundle: Uint8Array,
  scanner?: ContentScanner,
): Generator<void, ReadBundle, void> {
  const findings = new Findings("bundle");
  const value = yield* parseCanonical(bundle, findings);
  if (value !== undefined) {
    const reading = { complete: true, catalogue: undefined, scanner, findings };
    const document = yield* readDocument(nodeOfJson(value), reading);
    if (document !== undefined) return { ok: true, document };
  }
  return { ok: false, findings: findings.sorted() };
}

function* parseCanonical(
  bundle: Uint8Array,
  findings: Findings,
): Generator<void, PlainJson | undefined, void> {
  const refuse = (code: "syntax" | "too_large", message: string) => {
    findings.error({ place: NO_PLACE, path: "" }, code, message);
    return undefined;
  };
  if (bundle.byteLength > BUNDLE_BYTES_MAX) {
    return refuse("too_large", `the bundle is over ${BUNDLE_BYTES_MAX} bytes`);
  }
  let text: string;
  let value: PlainJson;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bundle);
    value = JSON.parse(text);
  } catch (error) {
    // Bytes from outside that are not UTF-8 (TypeError), not JSON, or nest beyond the stack.
    return refuse("syntax", `the bundle is not JSON: ${(error as Error).message}`);
  }
  yield;
  const isSame = yield* isCanonical(text, value);
  return isSame ? value : refuse("syntax", "the bundle is not canonical JSON");
}

function* isCanonical(text: string, value: PlainJson): Generator<void, boolean, void> {
  let length = 0;
  try {
    for (const piece of canonicalPieces(value)) {
      if (!text.startsWith(piece, length)) return false;
      length += piece.length;
      yield;
    }
  } catch (error) {
    // Deeper than any bundle nests.
    if (error instanceof RangeError) return false;
    throw error;
  }
  return length === text.length;
}
