import { canonicalTree, NotCanonical } from "./canonical-tree.ts";
import type { ContentScanner } from "./content-scanner.ts";
import { BUNDLE_BYTES_MAX } from "./defaults.ts";
import { type DocumentNode, NO_PLACE } from "./document-node.ts";
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
  const tree = yield* parseCanonical(bundle, findings);
  if (tree !== undefined) {
    const reading = { complete: true, catalogue: undefined, scanner, findings };
    const document = yield* readDocument(tree, reading);
    if (document !== undefined) return { ok: true, document };
  }
  return { ok: false, findings: findings.sorted() };
}

function* parseCanonical(
  bundle: Uint8Array,
  findings: Findings,
): Generator<void, DocumentNode | undefined, void> {
  const refuse = (code: "syntax" | "too_large", message: string) => {
    findings.error({ place: NO_PLACE, path: "" }, code, message);
    return undefined;
  };
  if (bundle.byteLength > BUNDLE_BYTES_MAX) {
    return refuse("too_large", `the bundle is over ${BUNDLE_BYTES_MAX} bytes`);
  }
  try {
    return yield* canonicalTree(bundle);
  } catch (error) {
    if (error instanceof NotCanonical) return refuse("syntax", error.message);
    throw error;
  }
}
