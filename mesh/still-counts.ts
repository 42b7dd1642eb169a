import { fromBinary } from "@bufbuild/protobuf";
import { SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { type MeshRecord, maySignRecord, type OpenContext, openRecord } from "./record.ts";
import { isInForce } from "./trust.ts";

/**
 * Whether whoever has never seen a record would take it today.
 *
 * What was merged stays merged when the key that signed it expires or is removed, as it must: a kill holds. But
 * a replica with an empty disk cannot check it, so its state is never the mesh's, and it stays closed until an
 * operator has signed the same once more.
 *
 * That a key in force is named beside a signature says nothing: one good signature is enough to be merged, and
 * anybody on the way may have put others beside it. So those that were not checked when it came are checked now.
 */
export function stillCounts(
  record: MeshRecord,
  { subject: _any, ...context }: OpenContext,
): boolean {
  const isGood = (kid: string): boolean => {
    const key = context.trust.lookup(kid);
    if (key === undefined || !isInForce(key, context.nowMs)) return false;
    return maySignRecord(key, record, context);
  };
  if (record.kids.some(isGood)) return true;
  const { signatures } = fromBinary(SignedRecordSchema, record.bytes);
  return signatures.some(({ kid }) => isGood(kid)) && openRecord(record.bytes, context).ok;
}
