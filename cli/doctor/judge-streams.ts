import type { StreamState } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { type Finding, fail, ok, skip, warn } from "./finding.ts";

/** A stream's servers elect another leader within nine seconds; what waits longer waits for somebody. */
const WAITS_MS = 10_000;
const REMEDY =
  "see that NATS is reached and give the disks of its servers room; then restart the server that leads this stream: " +
  "one whose disk was full may take nothing until it is started again";
const SILENT_REMEDY =
  "after an election it is soon spoken for again; if it stays so, restart the server that leads it: one whose disk was full may answer nothing of it";
const BEHIND_REMEDY =
  "it is moments behind where much is written; if it stays so, see to that server's disk and then restart it, or one more loss stops the stream";

/** @param streams A text: why the coordinator does not say. Undefined: none has run in this HOME. */
export function judgeStreams(
  streams: readonly StreamState[] | string | undefined,
): readonly Finding[] {
  if (streams === undefined) return [];
  if (typeof streams === "string")
    return [skip("streams", `the coordinator does not say: ${streams}`)];
  const waiting = streams.flatMap(judgeStream);
  return waiting.length > 0 ? waiting : [ok("streams", "all that was accepted is in them")];
}

function judgeStream(state: StreamState): Finding[] {
  const { stream, uncommitted, uncommittedMs, unansweredMs, error, behind, silent } = state;
  const isLate = uncommitted > 0 && uncommittedMs >= WAITS_MS;
  const commands = `${uncommitted} command(s) are not in it, the oldest for ${seconds(uncommittedMs)}`;
  if (unansweredMs >= WAITS_MS) {
    const says = `it has stored nothing for ${seconds(unansweredMs)} (${error})`;
    return [fail(stream, isLate ? `${says}; ${commands}` : says, REMEDY)];
  }
  if (isLate) return [warn(stream, commands, REMEDY)];
  if (silent !== "") {
    return [
      warn(stream, `its leader does not say how its servers stand: ${silent}`, SILENT_REMEDY),
    ];
  }
  if (behind.length === 0) return [];
  return [warn(stream, `its copy on ${behind.join(" and ")} is not current`, BEHIND_REMEDY)];
}

function seconds(ms: bigint): string {
  return `${Math.round(Number(ms) / 1_000)} s`;
}
