import type { MeshRecord } from "../mesh/record.ts";
import { sealReviveNotice } from "../mesh/revive-notice.ts";
import type { Bus } from "../ports/bus.ts";
import type { Signer } from "../ports/keys.ts";
import { isKillScope, isRevocable } from "../proto/ids.ts";
import { controlSubject, FAST_PREFIX, REVIVE_PREFIX, withPrefix } from "../proto/subjects.ts";

/**
 * Tells nodes of a record that is committed and that no copy of the stream's brings them: those on the subjects of
 * kills. Best effort, like every broadcast: a node that misses it learns from the next digest that it lacks
 * something, and reads the stream.
 *
 * @param seq Where the control stream holds it.
 */
export function tellCommitted(
  { op, parsed, bytes }: MeshRecord,
  seq: number,
  { bus, signer }: { readonly bus: Pick<Bus, "send">; readonly signer: Signer },
): void {
  const subject = controlSubject(parsed);
  if (op.case === "revive") {
    const notice = sealReviveNotice({ record: bytes, seq }, signer);
    bus.send(withPrefix(subject, REVIVE_PREFIX), notice);
  }
  if (op.case !== "kill" || !(isKillScope(parsed) || isRevocable(parsed))) return;
  bus.send(withPrefix(subject, FAST_PREFIX), bytes);
}
