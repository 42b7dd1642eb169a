import { type Finding, ok, warn } from "./finding.ts";

/** Whether a node that is yet to come could check all that the mesh's state is made of. */
export function judgeRecords(stale: number | string | undefined): readonly Finding[] {
  // What keeps it from answering is told of the coordinator itself.
  if (typeof stale !== "number") return [];
  if (stale === 0) return [ok("records", "every record is signed by a key that counts")];
  return [
    warn(
      "records",
      `${stale} or more are signed by keys that count no more: a node with an empty disk stays closed`,
      "altrace trust renew",
    ),
  ];
}
