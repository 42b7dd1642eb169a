import { parseLogPolicy } from "../audit/log-policy.ts";
import type { VerifierKey } from "../audit/signed-note.ts";

/** The operator's file of logs is not there, or not understood. */
export class OutsideLogsFault extends Error {
  override readonly name = "OutsideLogsFault";
}

/**
 * Logs from outside of the mesh that are cosigned on request: a policy file with a `log <vkey>` line for each,
 * and `quorum none`.
 *
 * @param mesh A log may not have the mesh's own names: those are known from its nodes.
 * @throws OutsideLogsFault
 * @see https://c2sp.org/tlog-policy
 */
export function readOutsideLogs(bytes: Uint8Array, mesh: string): readonly VerifierKey[] {
  const policy = parseLogPolicy(bytes);
  if (!policy.ok) throw new OutsideLogsFault(`${policy.flaw}: ${policy.detail}`);
  const { logs, witnesses, quorum } = policy.value;
  if (witnesses.length > 0 || quorum !== undefined) {
    throw new OutsideLogsFault("expected `log` lines and `quorum none`");
  }
  const names = new Set(logs.map(({ name }) => name));
  if (names.size < logs.length) throw new OutsideLogsFault("two keys of one log");
  for (const name of names) {
    if (name.startsWith(`${mesh}/`)) throw new OutsideLogsFault(`${name} is one of the mesh's own`);
  }
  return logs;
}
