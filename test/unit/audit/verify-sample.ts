/** Verifying the sample log, and what its findings are called. */

import { encodeCheckpoint } from "../../../audit/checkpoint.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import { type Finding, type VerifyRequest, verifyLog } from "../../../audit/verify-log.ts";
import { buildLog, entriesOf, LOG, POLICY, recordsOf, type SampleLog } from "./sample-log.ts";

// 600 entries: two full tiles and a partial one of level 0, and a partial one of level 1.
export const SIZE = 600;
export const records = recordsOf(SIZE);
export const entries = entriesOf(records);

export function verify(log: SampleLog, more: Partial<VerifyRequest> = {}) {
  const reader = { read: (path: string) => log.files.get(path) };
  return verifyLog({ reader, logKey: LOG.key, policy: POLICY, ...more });
}

export function codes(findings: readonly Finding[]): string[] {
  return [...new Set(findings.map(({ code }) => code))].sort();
}

export function resign(log: SampleLog, lines: readonly string[]): void {
  log.files.set("checkpoint", Buffer.from(encodeCheckpoint(log.text, lines)));
}

/** A whole log over these records, everything computed and signed anew. */
export function relogged(bend: (records: AuditRecord[]) => AuditRecord[]): Finding[] {
  return [...verify(buildLog(entriesOf(bend([...records])))).findings];
}
