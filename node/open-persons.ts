import { personTag } from "../mesh/redaction.ts";
import type { Disk } from "../ports/disk.ts";
import type { NodeParts } from "./app.ts";
import { CarriedOrders } from "./audit/carried-orders.ts";
import { hasPersons, PersonKeys } from "./audit/person-keys.ts";
import type { AuditLog } from "./audit-log.ts";
import type { LoopLink } from "./loop-link.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";
import { PersonDesk } from "./person-desk.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

/**
 * Has persons recorded, where the node is set to, and their keys erased, where it has any of a time when it was.
 * Before the loops open their doors and the mesh thread has read its disk, or the first of what they say is heard
 * by nobody.
 *
 * @throws AuditFault, or what the disk reports: their keys cannot be used.
 */
export function openPersons(of: {
  readonly parts: NodeParts;
  /** The node's own folder. */
  readonly home: string;
  readonly loops: readonly LoopLink[];
  readonly mesh: Pick<MeshThreadLink, "onMessage" | "post">;
  readonly audit: Pick<AuditLog, "append" | "isWritable">;
  readonly disk: Disk;
}): PersonDesk | undefined {
  const { parts, home, loops, mesh, audit, disk } = of;
  const { config, clock, random, log } = parts;
  const isRecording = config.auditPersonsDays > 0;
  if (!isRecording && !hasPersons(disk, home)) {
    mesh.onMessage((message) => {
      if (message.t !== "redaction") return;
      mesh.post({ t: "redacted", scope: message.scope, record: message.record, count: 0 });
    });
    return undefined;
  }
  const keepDays = config.auditPersonsKeepDays;
  const keys = new PersonKeys({
    disk,
    home,
    random,
    periodMs: config.auditPersonsDays * DAY_MS,
    keepMs: keepDays === 0 ? undefined : keepDays * DAY_MS,
    slotsMax: isRecording ? config.auditPersonsMax : Number.MAX_SAFE_INTEGER,
    tagOf: (person) => personTag(parts.mesh, person).toString("hex"),
  });
  const onFault = (error: unknown): void => log.fault("persons", error);
  if (keys.damaged > 0) onFault(new Error(`${keys.damaged} persons' keys were damaged: erased`));
  const desk = new PersonDesk({
    ...audit,
    node: config.nodeId,
    keys,
    carried: new CarriedOrders(disk, home),
    mesh,
    loops,
    clock,
    onFault,
  });
  desk.start();
  return desk;
}
