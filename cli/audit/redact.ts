import { create } from "@bufbuild/protobuf";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { isPerson, isRedactReason, personTag } from "../../mesh/redaction.ts";
import { uuidV7 } from "../../ports/random.ts";
import { RedactSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { type KillOptions, tellCommand } from "../commands/kill.ts";
import { carrySigned } from "../operator-record.ts";

const REASON_DEFAULT = "person_erased";

export type RedactOptions = Pick<KillOptions, "reason" | "timeout">;

/**
 * `altrace audit redact <person>`: has every node erase the keys under which a person stands in its log, by an
 * order that the operator's key signs. The logs keep every leaf, hash and proof; what stood for the person
 * can be resolved by nobody any more. Ends once every node has said that it is done; one that is away does
 * it when it comes back.
 */
export async function redactPerson(
  context: CommandContext,
  person: string,
  options: RedactOptions,
): Promise<void> {
  if (!isPerson(person)) {
    throw new CommandError(`${person}: expected what a contract says of on whose behalf it is`, 2);
  }
  const reason = options.reason ?? REASON_DEFAULT;
  if (!isRedactReason(reason)) {
    throw new CommandError(
      `--reason ${reason}: expected one snake_case word; it stays in the log`,
      2,
    );
  }
  const { calls } = context.coordinator();
  const { mesh } = await calls.getScope({ scope: "trust" });
  const nowMs = systemClock.nowMs();
  const scope = `redaction/${uuidV7(nowMs, cryptoRandom)}`;
  const tag = personTag(mesh, person);
  const value = create(RedactSchema, { person: tag, madeByMs: BigInt(nowMs), reason });
  const { command } = await carrySigned(context, scope, { case: "redact", value }, (record) =>
    calls.redactPerson({ record }),
  );
  await tellCommand(context, command, { ...options, wait: true });
}
