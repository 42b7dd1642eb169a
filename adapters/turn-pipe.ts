import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import type { TurnPipe } from "../ports/turn-pipe.ts";

/** See node/kernel/gate-helper. */
const PLACE_BYTES = 128;

/** Opens both; undefined when they are not there, or nobody reads what would be asked. */
export function openTurnPipe(asked: string, answered: string): TurnPipe | undefined {
  // Without O_NONBLOCK, opening a pipe waits for its other end.
  const ask = opened(asked, constants.O_WRONLY | constants.O_NONBLOCK);
  if (ask === undefined) return undefined;
  const answers = opened(answered, constants.O_RDONLY | constants.O_NOFOLLOW);
  if (answers === undefined) {
    closeSync(ask);
    return undefined;
  }
  const buffer = Buffer.alloc(PLACE_BYTES);
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  return {
    write: (line) => attempted(() => writeSync(ask, line) === line.length) ?? false,
    // A file, because a pipe that is empty says so by an error, and making one takes longer than a look.
    look: (place) => {
      const at = place * PLACE_BYTES;
      const count = attempted(() => readSync(answers, buffer, 0, PLACE_BYTES, at)) ?? 0;
      return buffer.toString("latin1", 0, count);
    },
    pause: (microseconds) => void Atomics.wait(nothing, 0, 0, microseconds / 1_000),
    close: () => {
      closeSync(ask);
      closeSync(answers);
    },
  };
}

/** A pipe into which notes go whole, or not at all; undefined when it is not there, or nobody reads it. */
export function openNotePipe(
  path: string,
): { write(note: Uint8Array): boolean; close(): void } | undefined {
  const pipe = opened(path, constants.O_WRONLY | constants.O_NONBLOCK);
  if (pipe === undefined) return undefined;
  return {
    write: (note) => attempted(() => writeSync(pipe, note) === note.length) ?? false,
    close: () => closeSync(pipe),
  };
}

function opened(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags);
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
