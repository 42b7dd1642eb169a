import { systemClock } from "../../adapters/system-clock.ts";
import { isPerson, isRedactReason, signRedactOrder } from "../../mesh/redact-order.ts";
import { type CommandContext, CommandError } from "../command-context.ts";

const REASON_DEFAULT = "person_erased";

/**
 * `altrace audit redact <person>`: has a node erase the keys under which a person stands in its log, by an
 * order that the operator's key signs. The log keeps every leaf, hash and proof; what stood for the person
 * can be resolved by nobody any more. Each node has keys of its own, so each is asked by itself.
 */
export async function redactPerson(
  context: CommandContext,
  person: string,
  options: { readonly reason?: string },
): Promise<void> {
  const { output } = context;
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
  const signer = context.operatorKeys().load("operator");
  if (signer === undefined) {
    throw new CommandError(`${context.home}/operator.key: not there; this needs an operator's key`);
  }
  const { mesh } = await context.coordinator().calls.getScope({ scope: "trust" });
  const issuedAtMs = BigInt(systemClock.nowMs());
  const signed = signRedactOrder({ mesh, person, issuedAtMs, reason }, signer);
  const { node, pseudonyms } = await context.node().calls.redactPerson(signed);
  output.result({ node, pseudonyms }, () => {
    if (pseudonyms.length === 0) output.line(`node ${node} keeps no key of ${person}`);
    for (const one of pseudonyms) output.line(`node ${node}: ${one} is nobody's any more`);
  });
}
