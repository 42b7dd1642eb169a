import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { cryptoRandom } from "../adapters/crypto-random.ts";
import { RpcError } from "../adapters/grpc-error.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { restoreRecord, signRecord } from "../mesh/record.ts";
import type { OpName, RecordOp } from "../mesh/record-op.ts";
import { uuidV7 } from "../ports/random.ts";
import type { GetScopeResponse } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { type SignedRecord, SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { type CommandContext, CommandError } from "./command-context.ts";

/** Another operator may write the same scope in between; then it is read and signed again. */
const ATTEMPTS_MAX = 5;

/**
 * Signs the next record of a scope with the operator's key and has the coordinator carry it.
 *
 * @param op What it says; or what follows from the scope's record of now, where it builds on that.
 *
 * The coordinator cannot make such a record itself: nodes check the operator's signature.
 *
 * @param mayFollow Throws when the record must not replace one of this op. Asked before each signature,
 * because another may have come in between.
 */
export async function carrySigned<Answer>(
  context: CommandContext,
  scope: string,
  op: RecordOp | ((current: SignedRecord | undefined, mesh: string) => RecordOp),
  carry: (record: SignedRecord) => Promise<Answer>,
  mayFollow: (current: OpName | undefined) => void = () => undefined,
): Promise<Answer> {
  const signer = context.operatorKeys().load("operator");
  if (signer === undefined) {
    throw new CommandError(`${context.home}/operator.key: not there; this needs an operator's key`);
  }
  const { calls } = context.coordinator();
  for (let attempt = 1; ; attempt++) {
    const current = await calls.getScope({ scope });
    mayFollow(opOf(current));
    const bytes = signRecord(
      {
        mesh: current.mesh,
        scope,
        v: Number(current.v) + 1,
        prev: current.hash,
        cmdId: uuidV7(systemClock.nowMs(), cryptoRandom),
        issuedAtMs: systemClock.nowMs(),
        operator: context.operatorName,
        op: typeof op === "function" ? op(current.record, current.mesh) : op,
      },
      signer,
    );
    try {
      return await carry(fromBinary(SignedRecordSchema, bytes));
    } catch (error) {
      const conflict = error instanceof RpcError && error.reason === "conflict";
      if (!conflict || attempt >= ATTEMPTS_MAX) throw error;
    }
  }
}

/**
 * What the scope's current record does; undefined where there is none. It must be the one that the next follows: an
 * older one, shown beside the newest number, would be built on once more.
 */
function opOf({ mesh, v, hash, record }: GetScopeResponse): OpName | undefined {
  if (record === undefined) return undefined;
  const read = restoreRecord(toBinary(SignedRecordSchema, record), { mesh });
  if (!read.ok) throw new CommandError(`the scope's record cannot be read: ${read.detail}`);
  if (BigInt(read.record.v) === v && Buffer.compare(read.record.hash, hash) === 0) {
    return read.record.op.case;
  }
  throw new CommandError("the coordinator shows another record than the one it numbers");
}
