import type { ScanSet } from "./compile-rules.ts";
import { SCAN_LIMITS } from "./scan-limits.ts";
import { createScanner, type Hit } from "./scan-stream.ts";

export type ScanOptions = {
  /** Bytes scanned between two looks at the deadline. */
  readonly stepBytes?: number;
  /** Asked between two steps; true gives up. The engine has no clock. */
  readonly deadline?: () => boolean;
};

export type ScanResult = {
  readonly hits: readonly Hit[];
  readonly scannedBytes: number;
  /** False: the deadline passed. What was not scanned may hold anything, so refuse it. */
  readonly complete: boolean;
  /** Work done, as a scanner counts it. */
  readonly steps: number;
};

/** Scans a whole text that is at hand. */
export function scanBytes(
  set: ScanSet,
  bytes: Uint8Array,
  { stepBytes = SCAN_LIMITS.bodyStepBytes, deadline = () => false }: ScanOptions = {},
): ScanResult {
  if (!Number.isInteger(stepBytes) || stepBytes < 1) throw new Error("a step has at least a byte");
  const scanner = createScanner(set);
  const hits: Hit[] = [];
  let from = 0;
  for (;;) {
    if (from > 0 && deadline()) {
      return { hits, scannedBytes: from, complete: false, steps: scanner.steps };
    }
    if (bytes.length - from <= stepBytes) break;
    hits.push(...scanner.push(bytes.subarray(from, from + stepBytes)));
    from += stepBytes;
  }
  hits.push(...scanner.last(from === 0 ? bytes : bytes.subarray(from)));
  return { hits, scannedBytes: bytes.length, complete: true, steps: scanner.steps };
}
