import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import type { TurnPipe } from "../ports/turn-pipe.ts";

const READ_BYTES = 4_096;

/** Opens both pipes; undefined when they are not there, or nobody reads what would be asked. */
export function openTurnPipe(asked: string, answered: string): TurnPipe | undefined {
  const ask = opened(asked, constants.O_WRONLY);
  if (ask === undefined) return undefined;
  const answer = opened(answered, constants.O_RDONLY);
  if (answer === undefined) {
    closeSync(ask);
    return undefined;
  }
  const buffer = Buffer.alloc(READ_BYTES);
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  return {
    write: (line) => attempted(() => writeSync(ask, line) === line.length) ?? false,
    // Nothing in the pipe is an error (EAGAIN), and nobody at its other end is no bytes.
    read: () => buffer.toString("latin1", 0, attempted(() => readSync(answer, buffer)) ?? 0),
    pause: (microseconds) => void Atomics.wait(nothing, 0, 0, microseconds / 1_000),
    close: () => {
      closeSync(ask);
      closeSync(answer);
    },
  };
}

/** Without O_NONBLOCK, opening a pipe waits for its other end. */
function opened(path: string, direction: number): number | undefined {
  try {
    return openSync(path, direction | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
}

function attempted<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
