import { type Clock, monoMs } from "../ports/clock.ts";
import { COORDINATOR_EVENTS, type CoordinatorEvent, type Tell } from "./events.ts";

/** Writes one line; pino's loggers fit. */
export type LineLog = {
  readonly [L in "info" | "warn" | "error"]: (
    fields: Readonly<Record<string, unknown>>,
    event: string,
  ) => void;
};

/** Lines of one event in a second; what is more is counted and told with the next second's first. */
const LINES_PER_SECOND = 20;

/** Events as log lines, so that nobody can fill the log by repeating what is refused. */
export function eventLog(log: LineLog, clock: Clock): Tell {
  const windows = new Map<CoordinatorEvent, { second: number; lines: number; left_out: number }>();
  return (event, fields = {}) => {
    const second = Math.floor(monoMs(clock) / 1_000);
    let window = windows.get(event);
    const leftOut = window && window.second !== second ? window.left_out : 0;
    if (window?.second !== second) {
      window = { second, lines: 0, left_out: 0 };
      windows.set(event, window);
    }
    window.lines += 1;
    if (window.lines > LINES_PER_SECOND) {
      window.left_out += 1;
      return;
    }
    const all = leftOut > 0 ? { ...fields, left_out_before: leftOut } : fields;
    log[COORDINATOR_EVENTS[event]](all, event);
  };
}
