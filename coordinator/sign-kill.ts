import { contractEndOf } from "../mesh/contract-end.ts";
import { EMPTY_KILL } from "../mesh/kill-message.ts";
import { type MeshRecord, nextOpened, RecordError } from "../mesh/record.ts";
import type { Clock } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import { CommandRefused } from "./command-refused.ts";
import type { Replica } from "./replica.ts";

export type KillFields = {
  readonly cmdId: string;
  readonly scope: string;
  readonly reason: string;
  /** Snake-case cause when no person asked; otherwise empty. */
  readonly cause: string;
  readonly operator: string;
  /** Of a contract that is revoked: when it ends, ms since the Unix epoch; absent where that is not known. */
  readonly contractEndMs?: number | undefined;
};

export type SignKillOptions = {
  readonly mesh: string;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly signer: Signer;
};

/**
 * The kill that follows the scope's current record, signed with this coordinator's key.
 *
 * @throws CommandRefused Nobody would take it: our key is not in the bundle, or no version is left.
 */
export function signKill(fields: KillFields, options: SignKillOptions): MeshRecord {
  const { mesh, replica, clock, signer } = options;
  const { reason, cause, contractEndMs = 0, ...rest } = fields;
  const value = { ...EMPTY_KILL, reason, cause, contractEndMs: BigInt(contractEndMs) };
  const op = { case: "kill" as const, value };
  const nowMs = clock.nowMs();
  const issued = { ...rest, mesh, issuedAtMs: nowMs, op };
  // Signed in this process a moment ago: whether the key may sign is asked, the signature is not verified.
  const verify = (publicKey: Uint8Array): boolean =>
    Buffer.compare(publicKey, signer.publicKey) === 0;
  try {
    const context = { mesh, verify, trust: replica.trust, nowMs };
    const opened = nextOpened(replica.state.get(fields.scope), issued, signer, context);
    if (!opened.ok) throw new CommandRefused(opened.reason, opened.detail);
    return opened.record;
  } catch (error) {
    if (error instanceof RecordError) throw new CommandRefused(error.reason, error.message);
    throw error;
  }
}

/** The same kill again, on top of what is current now; of a contract, for as long as either of them is kept. */
export function signKillAgain(own: MeshRecord, options: SignKillOptions): MeshRecord {
  const { cmdId, scope, operator, op } = own;
  if (op.case !== "kill") throw new TypeError(`${cmdId} is no kill`);
  const { reason, cause } = op.value;
  const current = options.replica.state.get(scope);
  const ends = [own, current].flatMap((record) => (record && contractEndOf(record)) ?? []);
  const contractEndMs = ends.length === 0 ? undefined : Math.max(...ends);
  return signKill({ cmdId, scope, reason, cause, operator, contractEndMs }, options);
}
