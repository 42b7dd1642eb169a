import {
  COORDINATOR_VERSION_MAX,
  type MeshRecord,
  type OpenContext,
  openRecord,
} from "../mesh/record.ts";
import { openSealed } from "../mesh/sealed.ts";
import { nodeKeyOf } from "../mesh/trust.ts";
import type { BusMessage } from "../ports/bus.ts";

/**
 * A record whose coordinator's key counts no more, and of which a node says that it took it while the key was in force.
 *
 * Two signatures are wanted where otherwise one is enough: that of the coordinator, by a key that is still listed,
 * and that of the node over the record as it has it. So with a removed key alone nothing can be said.
 *
 * One that has the last number a coordinator may give could be said again by none: who took it would differ from
 * everybody who cannot check it, and all nodes would close. So it stays that node's alone.
 *
 * @param message On the subject of records that a node offers.
 * @returns Undefined for anything else that comes there.
 */
export function openKept(
  { subject, bytes }: BusMessage,
  context: Omit<OpenContext, "subject">,
): MeshRecord | undefined {
  const { trust, verify, nowMs } = context;
  const node = subject.slice(subject.lastIndexOf(".") + 1);
  const sealed = openSealed("kept", bytes, nodeKeyOf(trust, node, nowMs), verify);
  const opened = sealed && openRecord(sealed.payload, { ...context, signed: "once" });
  if (!opened?.ok) return undefined;
  if (opened.record.v >= COORDINATOR_VERSION_MAX) return undefined;
  const isOfCoordinator = (kid: string) => trust.lookup(kid)?.role === "coordinator";
  return opened.record.kids.some(isOfCoordinator) ? opened.record : undefined;
}
