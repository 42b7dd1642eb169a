import type { Clock } from "../../ports/clock.ts";
import type { MeshAlarm } from "./mesh-alarms.ts";

/** Lines of one kind a second; what comes beyond is counted and told with the next line. */
export const ALARM_LINES_PER_SECOND = 5;

type Count = { second: bigint; lines: number; left: number };

/**
 * Writes alarms as lines, few enough that whoever sends bad records cannot keep this thread busy.
 *
 * @param write One line, without its end.
 */
export function alarmLog(
  clock: Clock,
  write: (line: {
    readonly alarm: MeshAlarm;
    readonly detail: string;
    readonly left: number;
  }) => void,
): (alarm: MeshAlarm, detail: string) => void {
  const counts = new Map<MeshAlarm, Count>();
  return (alarm, detail) => {
    const second = clock.monoNs() / 1_000_000_000n;
    const count = counts.get(alarm) ?? { second, lines: 0, left: 0 };
    counts.set(alarm, count);
    if (count.second !== second) {
      count.second = second;
      count.lines = 0;
    }
    count.lines += 1;
    if (count.lines > ALARM_LINES_PER_SECOND) {
      count.left += 1;
      return;
    }
    write({ alarm, detail: detail.slice(0, 512), left: count.left });
    count.left = 0;
  };
}
