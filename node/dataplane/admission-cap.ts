/** Descriptors that are not connections: logs, LMDB, the bus, admin doors, event queues. */
export const RESERVED_FILES = 256;
/** A client's connection and the upstream one that serves it. */
const FILES_PER_CONNECTION = 2;
/** Below this a node would turn away an ordinary burst; the operator has to raise the limit. */
const CONNECTIONS_MIN = 64;

/**
 * How many client connections one loop may hold, so that no descriptor is ever missing: a node
 * that cannot open a file cannot log, and then allows nothing.
 *
 * @param openFilesMax The process's soft limit of open files.
 * @returns `undefined` when the limit leaves too little to serve at all: a config error.
 */
export function connectionsMaxOf(input: {
  readonly openFilesMax: number;
  readonly loops: number;
}): number | undefined {
  const files = input.openFilesMax - RESERVED_FILES;
  const cap = Math.floor(files / FILES_PER_CONNECTION / input.loops);
  return cap >= CONNECTIONS_MIN ? cap : undefined;
}
