import { type MeshRecord, type OpenContext, openRecord } from "../../mesh/record.ts";
import type { MeshState } from "../../mesh/state.ts";

/** Stands for the key of an operator where none that is listed has signed. */
export const NOBODY_LISTED = "unknown";

/**
 * Whose order a record is: a key whose signature counts, or did when the record was taken.
 *
 * A record may carry signatures that nobody has looked at, which whoever carried it can have put there; so of one
 * that was read from this node's disk they are looked at now.
 *
 * @returns The key's id, or `NOBODY_LISTED`.
 */
export function orderedBy({ kids, bytes }: MeshRecord, context: OpenContext): string {
  const [known] = kids;
  if (known !== undefined) return known;
  const opened = openRecord(bytes, { ...context, signed: "once" });
  return (opened.ok ? opened.record.kids[0] : undefined) ?? NOBODY_LISTED;
}

/** Hands over the orders from this disk once all keys are known: who signed each is looked for, one a turn. */
export async function orderAgain(
  state: MeshState,
  onOrder: (record: MeshRecord) => void,
  nextTurn: () => Promise<void>,
): Promise<void> {
  for (const record of [...state.records()].filter(({ op }) => op.case === "redact")) {
    onOrder(record);
    await nextTurn();
  }
}
