import { fromBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../mesh/record.ts";
import { type SignedRecord, SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";

/** Records of one page at most. */
export const STATE_PAGE_COUNT = 2_048;
/** Room for the reply's own fields below what the bus carries. */
export const STATE_PAGE_BYTES_MAX = 900_000;

/**
 * As many of the records as one reply carries, and at least one.
 *
 * @param found In scope order, `STATE_PAGE_COUNT` of them at most; as many may mean that there are more.
 * @param isTold Whether a node may have it from here. What widens anything, and was offered to us by somebody
 *   who has not seen it committed either, may not: it waits until the stream holds it.
 */
export function recordsPage(
  found: readonly MeshRecord[],
  isTold: (record: MeshRecord) => boolean,
): { readonly records: SignedRecord[]; readonly more: boolean } {
  const records: SignedRecord[] = [];
  let bytes = 0;
  for (const record of found) {
    if (!isTold(record)) continue;
    bytes += record.bytes.length;
    if (records.length > 0 && bytes > STATE_PAGE_BYTES_MAX) return { records, more: true };
    records.push(fromBinary(SignedRecordSchema, record.bytes));
  }
  return { records, more: found.length === STATE_PAGE_COUNT };
}
