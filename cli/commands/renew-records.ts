import { create, toBinary } from "@bufbuild/protobuf";
import { accountLimitsOf } from "../../mesh/account-limits-of.ts";
import { distrustOf } from "../../mesh/distrust-of.ts";
import { type MeshRecord, restoreRecord } from "../../mesh/record.ts";
import type { RecordOp } from "../../mesh/record-op.ts";
import { coordinatorMaySign } from "../../mesh/trust.ts";
import {
  DistrustSchema,
  LimitSchema,
  type SignedRecord,
  SignedRecordSchema,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import { shownAmount, unitWord } from "../budget-amount.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { carrySigned, signersOf } from "../operator-record.ts";

/** A mesh with more to renew is asked again as long as each answer brings something new. */
const ROUNDS_MAX = 10_000;

/** What of the records that a coordinator calls stale is signed, and who is told of each. */
export type Renewal = {
  readonly may?: (record: MeshRecord) => boolean;
  readonly tell?: (record: MeshRecord, isRenewed: boolean) => void;
};

/**
 * Signs with the operator's key what only the keys signed that have expired or are trusted no more: it says the
 * same as before. A node with an empty disk could not check it, and would stay closed.
 *
 * What `may` does not name is left as it is: a coordinator that was taken over can show what it likes.
 *
 * @returns How many records were signed.
 */
export async function renewRecords(
  context: CommandContext,
  { may = () => true, tell = () => undefined }: Renewal = {},
): Promise<number> {
  const { calls } = context.coordinator();
  const { mesh } = await calls.getScope({ scope: "trust" });
  const renewed = new Set<string>();
  const left = new Set<string>();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const { records, more } = await calls.listStaleRecords({});
    const before = renewed.size;
    for (const signed of records) {
      const record = readIn(mesh, signed);
      if (!may(record)) {
        if (!left.has(record.scope)) tell(record, false);
        left.add(record.scope);
        continue;
      }
      // Signed a moment ago and stale again: the operator's own key is not what the mesh takes.
      if (renewed.has(record.scope)) {
        throw new CommandError(`${record.scope}: this operator's key does not count either`);
      }
      await renew(context, record);
      renewed.add(record.scope);
      tell(record, true);
    }
    if (!more || renewed.size === before) return renewed.size;
  }
  return renewed.size;
}

/**
 * `altrace trust renew [scope...]`: signs again what a listed key has signed, in force or not, and kills, which a
 * coordinator could say itself. Of the rest nobody can check any more who signed it, or whether anybody did: it is
 * shown, and signed once its scope is named.
 */
export async function renewTrust(
  context: CommandContext,
  named: readonly string[] = [],
): Promise<void> {
  const records: RenewedRecord[] = [];
  const left: RenewedRecord[] = [];
  const signers = await signersOf(context);
  const count = await renewRecords(context, {
    may: (record) =>
      named.includes(record.scope) || isCoordinators(record) || signers(record).length > 0,
    tell: (record, isRenewed) => (isRenewed ? records : left).push(shownOf(record)),
  });
  context.output.result({ renewed: count, records, left }, () => {
    for (const { scope, says } of records) context.output.line(`${scope}: ${says}`);
    context.output.line(left.length > 0 ? `${count} records renewed` : renewedLine(count));
    for (const { scope, says } of left) {
      context.output.line(`not renewed, as no listed key signed it: ${scope}: ${says}`);
    }
    if (left.length > 0) context.output.line("altrace trust renew <scope> signs it all the same");
  });
}

function isCoordinators({ op, parsed }: MeshRecord): boolean {
  return op.case === "kill" && coordinatorMaySign(op.case, parsed);
}

export type RenewedRecord = { readonly scope: string; readonly says: string };

/** What an operator's key has been put under, so that whoever gave it can see what was widened. */
export function shownOf({ scope, op }: MeshRecord): RenewedRecord {
  if (op.case === "policy") {
    return { scope, says: `policy ${Buffer.from(op.value.sha256).toString("hex")}` };
  }
  if (op.case === "key") return { scope, says: `key of ${op.value.agent}` };
  if (op.case === "trust") return { scope, says: `trust ${op.value.keys[0]?.kid ?? ""}`.trimEnd() };
  const limits = op.case === "limit" ? accountLimitsOf(op.value) : [];
  const said = limits.map(
    ({ window, unit, limit }) => `${window} ${shownAmount(unit, limit)} ${unitWord(unit)}`,
  );
  return { scope, says: [op.case, ...said].join(" ") };
}

export function renewedLine(count: number): string {
  return count === 0 ? "every record is signed by a key that counts" : `${count} records renewed`;
}

function readIn(mesh: string, signed: SignedRecord): MeshRecord {
  const read = restoreRecord(toBinary(SignedRecordSchema, signed), { mesh });
  if (read.ok) return read.record;
  throw new CommandError(`a record cannot be read: ${read.detail}`);
}

async function renew(context: CommandContext, { scope, op }: MeshRecord): Promise<void> {
  const { calls } = context.coordinator();
  // The pinned key alone signs it, and that one always counts: whoever asks for this wants other keys signed.
  if (scope === "trust") throw new CommandError("the coordinator has the trust bundle renewed");
  const carry = (record: SignedRecord) => {
    switch (op.case) {
      case "revive":
        return calls.revive({ record });
      case "policy":
        return calls.applyPolicy({ record });
      case "limit":
        return calls.setLimit({ record });
      case "redact":
        return calls.redactPerson({ record });
      default:
        return calls.putKey({ record });
    }
  };
  await carrySigned<unknown>(context, scope, asOperators(op), carry, (current) => {
    if (current !== op.case) throw new CommandError(`${scope} has changed meanwhile; ask again`);
  });
}

/** An operator's distrust points back at nobody: it may begin an era itself. */
function asOperators(op: RecordOp): RecordOp {
  const distrust = distrustOf(op);
  if (distrust === undefined) return op;
  const { milli, era } = distrust;
  const value = create(DistrustSchema, { milli, era });
  return { case: "limit", value: create(LimitSchema, { of: { case: "distrust", value } }) };
}
