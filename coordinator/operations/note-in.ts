import type { Clock } from "../../ports/clock.ts";
import type { ArchiveLink } from "../archive/archive-link.ts";
import type { Tell } from "../events.ts";
import type { NoteLog } from "../witness.ts";
import type { NoteCall, NotedCall } from "./recorded-calls.ts";

/** Writes calls into the coordinator's own log. Where it has none, as in a test, nothing is written. */
export function noteIn(archive: ArchiveLink | undefined, clock: Clock, tell: Tell): NoteCall {
  if (archive === undefined) return async () => undefined;
  return async (call) => {
    const fault = await archive.record({ t: clock.nowMs(), ...call });
    if (fault !== undefined) tell("call_unrecorded", { op: call.op, error: fault });
    return fault;
  };
}

/** A node that used its token. */
export function enrolled({ node }: Readonly<Record<string, unknown>> = {}): NotedCall {
  return { op: "enrol", rc: "ok", via: "mesh", scope: `node/${node}` };
}

/** Writes down in the coordinator's own log which logs must exist. */
export function noteLogsIn(archive: Pick<ArchiveLink, "record">, clock: Clock): NoteLog {
  return ({ origin, vkey, size, root }) =>
    archive.record({ k: "log", t: clock.nowMs(), origin, vkey, size, root });
}
