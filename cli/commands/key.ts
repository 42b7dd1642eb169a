import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { newVirtualKey } from "../../node/new-virtual-key.ts";
import type { Random } from "../../ports/random.ts";
import { KeySchema, KillSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseAgentId, parseScope } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { carrySigned } from "../operator-record.ts";

/** A new virtual key: what is shown once, and what the mesh keeps of it. */
export type NewKey = { readonly id: string; readonly key: string; readonly sha256: Uint8Array };

export function newKey(random: Random): NewKey {
  const { id, key } = newVirtualKey(random);
  return { id, key, sha256: createHash("sha256").update(key).digest() };
}

/** `altrace key issue <agent>`: makes a virtual key and shows it, once. */
export async function issueKey(
  context: CommandContext,
  agent: string,
  options: { readonly days?: string },
): Promise<void> {
  if (parseAgentId(agent) === undefined) {
    throw new CommandError(`${agent}: expected team/agent`, 2);
  }
  const made = newKey(cryptoRandom);
  const notAfterMs = expiry(options.days, systemClock.nowMs());
  await putKey(context, made, agent, notAfterMs);
  const shown = { id: made.id, agent, key: made.key };
  context.output.result(shown, () => {
    context.output.line(made.key);
    context.output.line(`key ${made.id} of ${agent}; this is the only time it is shown`);
  });
}

/** Has the mesh learn a key that was made. */
export async function putKey(
  context: CommandContext,
  { id, sha256 }: NewKey,
  agent: string,
  notAfterMs: bigint,
): Promise<void> {
  const value = create(KeySchema, { sha256, agent, contract: "", notBeforeMs: 0n, notAfterMs });
  const { calls } = context.coordinator();
  await carrySigned(context, `key/${id}`, { case: "key", value }, (record) =>
    calls.putKey({ record }),
  );
}

/** `altrace key revoke <id>`: no request with that key is served from then on. */
export async function revokeKey(
  context: CommandContext,
  id: string,
  options: { readonly reason?: string },
): Promise<void> {
  if (parseScope(`key/${id}`) === undefined) throw new CommandError(`${id}: no key id`, 2);
  const value = create(KillSchema, { reason: options.reason ?? "", cause: "" });
  const { calls } = context.coordinator();
  await carrySigned(context, `key/${id}`, { case: "kill", value }, (record) =>
    calls.putKey({ record }),
  );
  context.output.result({ id, revoked: true }, () => context.output.line(`key ${id} is revoked`));
}

function expiry(days: string | undefined, nowMs: number): bigint {
  if (days === undefined) return 0n;
  if (!/^[1-9]\d{0,3}$/.test(days)) throw new CommandError("--days: expected 1 to 9999", 2);
  return BigInt(nowMs) + BigInt(days) * 86_400_000n;
}
