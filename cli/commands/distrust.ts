import { create, fromBinary } from "@bufbuild/protobuf";
import { distrustOf } from "../../mesh/distrust-of.ts";
import { DISTRUST_MILLI_MAX, DISTRUST_MILLI_MIN, type RecordOp } from "../../mesh/record-op.ts";
import {
  type Distrust,
  LimitSchema,
  RecordSchema,
  type SignedRecord,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { carrySigned } from "../operator-record.ts";

/** `altrace distrust show <model>`: what holds of a model count with beyond its price entry. */
export async function showDistrust(context: CommandContext, model: string): Promise<void> {
  const { record } = await context.coordinator().calls.getScope({ scope: scopeOf(model) });
  const { milli = 0n, era = 0n } = known(record) ?? {};
  const shown = { model, distrust: ratio(milli), timesSet: Number(era) };
  context.output.result(shown, () =>
    context.output.line(
      milli === 0n
        ? `${model}: no bill above its hold; its price entry alone counts`
        : `${model}: bills may be ${ratio(milli)} times their hold`,
    ),
  );
}

/** `altrace distrust set <model> <ratio>`: an operator's word, which may lower what bills have raised. */
export async function setDistrust(
  context: CommandContext,
  model: string,
  text: string,
): Promise<void> {
  const milli = readRatio(text);
  const { calls } = context.coordinator();
  const { command } = await carrySigned(
    context,
    scopeOf(model),
    (current) => setTo(milli, current && distrustOf(current.op)),
    (record) => calls.setLimit({ record }),
  );
  context.output.result({ command }, () =>
    context.output.line(`${model}: bills may be ${ratio(milli)} times their hold from now on`),
  );
}

/** A new era: whatever raised it before is answered, and counts no more. */
function setTo(milli: bigint, before: Distrust | undefined): RecordOp {
  const value = { milli, era: (before?.era ?? 0n) + 1n };
  return { case: "limit", value: create(LimitSchema, { of: { case: "distrust", value } }) };
}

function known(record: SignedRecord | undefined): Distrust | undefined {
  const op = record && fromBinary(RecordSchema, record.payload).op;
  return op?.case === undefined ? undefined : distrustOf(op);
}

function scopeOf(model: string): string {
  const scope = `distrust/${model}`;
  if (parseScope(scope)?.kind === "distrust") return scope;
  throw new CommandError(`${model}: expected <provider>/<model>`, 2);
}

function readRatio(text: string): bigint {
  const [, whole = "", part = ""] = /^(\d{1,3})(?:\.(\d{1,3}))?$/.exec(text) ?? [];
  const milli = BigInt(`${whole}${part.padEnd(3, "0")}`);
  if (whole !== "" && milli >= DISTRUST_MILLI_MIN && milli <= DISTRUST_MILLI_MAX) return milli;
  throw new CommandError(`${text}: expected a ratio from 1 to 100, such as 1.25`, 2);
}

function ratio(milli: bigint): number {
  return Number(milli) / 1_000;
}
