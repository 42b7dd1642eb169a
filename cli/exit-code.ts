import { RpcError } from "../adapters/grpc-error.ts";
import { SocketFault } from "../adapters/grpc-socket.ts";
import { InstanceFault } from "../adapters/instance-lock.ts";
import { KeyFileFault } from "../adapters/private-file.ts";
import { TrustFileFault } from "../adapters/trust-file.ts";
import { HomeFault } from "../coordinator/found-mesh.ts";
import { CommandError } from "./command-context.ts";
import type { Streams } from "./output.ts";

/** What the world did to us, told by message and cause: a stack would say nothing more. */
const FAULTS = [InstanceFault, HomeFault, KeyFileFault, SocketFault, TrustFileFault];

/**
 * Tells a person why a command did not do it.
 *
 * @returns The exit code: 1 (refused or failed), 2 (the words were wrong).
 */
export function exitCodeOf(error: unknown, streams: Streams): number {
  if (error instanceof CommandError) {
    streams.err.write(`altrace: ${error.message}\n`);
    return error.exitCode;
  }
  if (FAULTS.some((fault) => error instanceof fault)) {
    const { message, cause } = error as Error;
    const because = cause instanceof Error ? `: ${cause.message}` : "";
    streams.err.write(`altrace: ${message}${because}\n`);
    return 1;
  }
  if (error instanceof RpcError) {
    streams.err.write(`altrace: ${error.reason}: ${error.message}\n`);
    return 1;
  }
  streams.err.write(
    `altrace: ${error instanceof Error ? (error.stack ?? error.message) : error}\n`,
  );
  return 1;
}
