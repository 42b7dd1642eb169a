import type { MeshRecord } from "../mesh/record.ts";
import { isGreater } from "../mesh/state.ts";
import { type Bus, BusFault } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { backoffMs, pause } from "../ports/pause.ts";
import { parseScope } from "../proto/ids.ts";
import { CONTROL_STREAM, controlSubject, REVOCATION_STREAM } from "../proto/subjects.ts";
import { type Command, isPending } from "./command.ts";
import type { Replica } from "./replica.ts";

export type CommitOptions = {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly replica: Replica;
  readonly signal: AbortSignal;
  readonly committed: (seq: number) => Promise<void>;
  /** Another record took the command's place. */
  readonly lost: (detail: string) => Promise<void>;
  /** Another record took a kill's place: it has to be built on that one. */
  readonly signAgain: (own: MeshRecord) => Promise<void>;
};

const RETRY_MS = { min: 75, max: 1_000 };
/** Its key was taken away before it was stored. */
export const NOT_COUNTED = "its signature does not count any more";

/**
 * Brings a command's record into the stream, through faults and for as long as it takes.
 *
 * One id goes with every attempt, so an append whose answer was lost is not stored twice. Ends when
 * the command is no longer pending, or at `signal`.
 */
export async function commitCommand(command: Command, options: CommitOptions): Promise<void> {
  const { bus, clock, replica, signal, committed, lost } = options;
  const scope = parseScope(command.scope);
  if (!scope) throw new TypeError(`${command.cmdId} has no scope`);
  const subject = controlSubject(scope);
  // Where a revoked contract's last message stands, by the leader's word: nothing else remembers it.
  let revokedAt = 0;
  for (let attempt = 0; !signal.aborted && isPending(command); attempt += 1) {
    // Whoever keeps writing to this scope gets the next turn.
    if (attempt > 1) await pause(clock, backoffMs(attempt - 2, RETRY_MS), signal);
    const own = command.record;
    // Accepted by an earlier run, and its signature counts no more: its key was taken away since.
    if (!own) return lost(NOT_COUNTED);
    const other = overtaker(own, replica);
    if (other) {
      await overtaken(command, own, other, options);
      continue;
    }
    if (replica.stream.holds(own)) return committed(replica.stream.seqOf(command.scope));
    // Nobody else would take it: a stream that holds it would say that it is in force.
    if (!replica.counts(own)) return lost(NOT_COUNTED);
    try {
      const isRevoked = scope.kind === "contract";
      const expectSeq = isRevoked ? revokedAt : replica.stream.seqOf(command.scope);
      const append = { msgId: command.cmdId, expectSeq };
      const outcome = await bus.append(subject, own.bytes, append);
      if (outcome !== "conflict") return await committed(outcome.seq);
      const found = await lookAgain(command, subject, options);
      if (found?.isOwn === true) return await committed(found.seq);
      revokedAt = found?.seq ?? 0;
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
      await pause(clock, backoffMs(attempt, RETRY_MS), signal);
    }
  }
}

/**
 * Another record that has our version or a later one, here or in the stream: ours must not be written
 * over it. At one version the stream's counts, even where ours would win a merge, because its author
 * has heard that it is committed. A revocation that is kept for longer than ours is not written over either.
 */
function overtaker(own: MeshRecord, replica: Replica): MeshRecord | undefined {
  const others = [replica.stream.recordOf(own.scope), replica.state.get(own.scope)];
  const isOver = (other: MeshRecord): boolean =>
    other.v >= own.v || (own.parsed.kind === "contract" && isGreater(other, own));
  return others.find((other) => other && other.hashHex !== own.hashHex && isOver(other));
}

function overtaken(
  command: Command,
  own: MeshRecord,
  current: MeshRecord,
  { replica, committed, lost, signAgain }: CommitOptions,
): Promise<void> {
  // Whoever built on our record saw it committed, and what it did was undone since.
  const wasCommitted = Buffer.compare(current.prev, own.hash) === 0;
  if (wasCommitted) return committed(replica.stream.seqOf(command.scope));
  if (command.kind === "carried") return lost(`${own.scope} is at version ${current.v}`);
  return signAgain(own);
}

/**
 * The scope's last sequence is not what we thought: asks the leader what is there.
 *
 * @returns Where it stands, and whether it is our own record: an earlier attempt was stored after all.
 */
async function lookAgain(
  command: Command,
  subject: string,
  { bus, replica }: CommitOptions,
): Promise<{ readonly seq: number; readonly isOwn: boolean } | undefined> {
  const last = await bus.last(streamOfScope(command.scope), subject);
  if (!last) {
    replica.stream.forget(command.scope);
    return undefined;
  }
  // What is no record is written over: it must not keep a kill from the stream.
  const found = replica.adopt(last);
  const seq = last.seq as number;
  if (!found) replica.stream.noteSeq(command.scope, seq);
  return { seq, isOwn: found !== undefined && found.hashHex === command.record?.hashHex };
}

/** Revoked contracts have a stream of their own. */
export function streamOfScope(scope: string): string {
  return scope.startsWith("contract/") ? REVOCATION_STREAM : CONTROL_STREAM;
}
