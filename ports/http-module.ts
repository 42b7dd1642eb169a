/**
 * `node:http`, without what an import of it brings along.
 *
 * An import reads every export of a module, and reading `WebSocket` of this one loads the whole
 * client that Node ships: 75 to 100 ms of a processor in each thread, against 6 here (Node 26.10).
 */
export const http = process.getBuiltinModule("node:http");
