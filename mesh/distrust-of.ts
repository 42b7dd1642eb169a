import type { Distrust } from "../proto/gen/altrace/v1/record_pb.ts";
import type { RecordOp } from "./record-op.ts";

/** What a record says of a price's distrust; undefined where it is about something else. */
export function distrustOf(op: RecordOp | undefined): Distrust | undefined {
  if (op?.case !== "limit" || op.value.of.case !== "distrust") return undefined;
  return op.value.of.value;
}
