import { fromBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../mesh/record.ts";
import { type SignedRecord, SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";

/** Records of one page at most. */
export const STATE_PAGE_COUNT = 2_048;
/** Room for the reply's own fields below what the bus carries. */
const STATE_PAGE_BYTES_MAX = 900_000;

/**
 * As many of the records as one reply carries, and at least one.
 *
 * @param found In scope order, `STATE_PAGE_COUNT` of them at most; as many may mean that there are more.
 */
export function recordsPage(found: readonly MeshRecord[]): {
  readonly records: SignedRecord[];
  readonly more: boolean;
} {
  const records: SignedRecord[] = [];
  let bytes = 0;
  for (const record of found) {
    bytes += record.bytes.length;
    if (records.length > 0 && bytes > STATE_PAGE_BYTES_MAX) break;
    records.push(fromBinary(SignedRecordSchema, record.bytes));
  }
  return { records, more: records.length < found.length || found.length === STATE_PAGE_COUNT };
}
