import type { ContentScanner } from "./content-scanner.ts";
import { BUNDLE_BYTES_MAX } from "./defaults.ts";
import { type Finding, Findings } from "./findings.ts";
import type { PolicyDocument } from "./policy-document.ts";
import { PRICE_CATALOGUE, type PriceCatalogue, priceCatalogueFlaw } from "./price-catalogue.ts";
import { readDocument } from "./read-document.ts";
import { writeBundle } from "./write-bundle.ts";
import { readYaml } from "./yaml-nodes.ts";

export type ReadPolicy =
  | {
      readonly ok: true;
      readonly document: PolicyDocument;
      readonly bundle: Uint8Array<ArrayBuffer>;
      /** Warnings only. */
      readonly findings: readonly Finding[];
    }
  /** At least one error; all that were found, and the warnings, in the order of the text. */
  | { readonly ok: false; readonly findings: readonly Finding[] };

/**
 * Reads a policy file: YAML text to a checked document and the bundle that carries it.
 *
 * Prices that a maintainer has not signed are no prices: then nothing is read at all.
 */
export function readPolicy(
  text: string,
  of: {
    /** As findings should name it. */
    readonly file: string;
    readonly scanner: ContentScanner;
    readonly catalogue?: PriceCatalogue;
  },
): ReadPolicy {
  const findings = new Findings(of.file);
  const flaw = of.catalogue === undefined ? priceCatalogueFlaw() : undefined;
  if (flaw !== undefined) {
    findings.error({ place: { line: 0, column: 0 }, path: "" }, "prices_untrusted", flaw);
    return { ok: false, findings: findings.sorted() };
  }
  const node = readYaml(text, findings);
  const document =
    node &&
    runToEnd(
      readDocument(node, {
        complete: false,
        catalogue: of.catalogue ?? PRICE_CATALOGUE,
        scanner: of.scanner,
        findings,
      }),
    );
  if (document === undefined) return { ok: false, findings: findings.sorted() };
  const bundle = writeBundle(document);
  if (bundle.byteLength > BUNDLE_BYTES_MAX) {
    const message = `compiles to ${bundle.byteLength} bytes; the mesh carries ${BUNDLE_BYTES_MAX}`;
    findings.error({ place: { line: 1, column: 1 }, path: "" }, "too_large", message);
    return { ok: false, findings: findings.sorted() };
  }
  return { ok: true, document, bundle, findings: findings.sorted() };
}

function runToEnd<T>(steps: Generator<void, T, void>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
