import type { Disk } from "../ports/disk.ts";
import type { Keys } from "../ports/keys.ts";
import type { NodeParts } from "./app.ts";
import { PersonKeys } from "./audit/person-keys.ts";
import type { AuditLog } from "./audit-log.ts";
import type { LoopLink } from "./loop-link.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";
import { PersonDesk } from "./person-desk.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

/**
 * Has persons recorded, where the node is set to. Before the loops open their doors, or the first of their
 * questions is heard by nobody.
 *
 * @throws AuditFault, or what the disk reports: their keys cannot be used.
 */
export function openPersons(of: {
  readonly parts: NodeParts;
  /** The node's own folder. */
  readonly home: string;
  readonly loops: readonly LoopLink[];
  readonly mesh: Pick<MeshThreadLink, "operatorKey">;
  readonly audit: Pick<AuditLog, "append" | "isWritable">;
  readonly disk: Disk;
  readonly verify: Keys["verify"];
}): PersonDesk | undefined {
  const { parts, home, loops, mesh, audit, disk, verify } = of;
  const { config, clock, random, log } = parts;
  if (config.auditPersonsDays === 0) return undefined;
  const keepDays = config.auditPersonsKeepDays;
  const keys = new PersonKeys({
    disk,
    home,
    random,
    periodMs: config.auditPersonsDays * DAY_MS,
    keepMs: keepDays === 0 ? undefined : keepDays * DAY_MS,
    slotsMax: config.auditPersonsMax,
  });
  const onFault = (error: unknown): void => log.fault("persons", error);
  if (keys.damaged > 0) onFault(new Error(`${keys.damaged} persons' keys were damaged: erased`));
  const desk = new PersonDesk({
    ...audit,
    mesh: parts.mesh,
    node: config.nodeId,
    keys,
    loops,
    clock,
    verify,
    operatorKey: (kid) => mesh.operatorKey(kid),
    onFault,
  });
  desk.start();
  return desk;
}
