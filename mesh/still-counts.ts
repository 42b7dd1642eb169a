import { fromBinary } from "@bufbuild/protobuf";
import { SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { type MeshRecord, maySignRecord, type OpenContext } from "./record.ts";
import { isInForce } from "./trust.ts";

/**
 * Whether whoever has never seen a record would take it today.
 *
 * What was merged stays merged when the key that signed it expires or is removed, as it must: a kill holds. But
 * a replica with an empty disk cannot check it, so its state is never the mesh's, and it stays closed until an
 * operator has signed the same once more.
 *
 * @param record One that was merged, so that its signatures are known to be over its bytes.
 */
export function stillCounts(record: MeshRecord, context: OpenContext): boolean {
  const { signatures } = fromBinary(SignedRecordSchema, record.bytes);
  return signatures.some(({ kid }) => {
    const key = context.trust.lookup(kid);
    if (key === undefined || !isInForce(key, context.nowMs)) return false;
    return maySignRecord(key, record, context);
  });
}
