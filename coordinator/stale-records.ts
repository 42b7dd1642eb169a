import { setImmediate as nextTurn } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../mesh/record.ts";
import { type SignedRecord, SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { STATE_PAGE_BYTES_MAX } from "./records-page.ts";
import type { Replica } from "./replica.ts";

/** Records that are looked at in one turn, signatures and all: a kill must not wait for more of them. */
const LOOKED_AT_ONCE = 16;

/**
 * Current records that only those still take who have them, as many as one answer carries.
 *
 * @returns `more`: there are others. They follow once these have been signed again.
 */
export async function staleRecords(
  replica: Replica,
): Promise<{ readonly records: SignedRecord[]; readonly more: boolean }> {
  const records: SignedRecord[] = [];
  let bytes = 0;
  let looked = 0;
  for (const record of [...replica.state.records()]) {
    looked += 1;
    if (looked % LOOKED_AT_ONCE === 0) await nextTurn();
    if (!isStale(replica, record)) continue;
    bytes += record.bytes.length;
    if (records.length > 0 && bytes > STATE_PAGE_BYTES_MAX) return { records, more: true };
    records.push(fromBinary(SignedRecordSchema, record.bytes));
  }
  return { records, more: false };
}

/** Not where another has taken its place since. */
function isStale(replica: Replica, record: MeshRecord): boolean {
  const isCurrent = replica.state.get(record.scope)?.hashHex === record.hashHex;
  return isCurrent && !replica.counts(record);
}
