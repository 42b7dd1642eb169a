import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { fingerprintOf } from "../../adapters/grpc-caller.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { type KillOptions, tellCommand } from "./kill.ts";

/**
 * `altrace certificate revoke <file|sha256>`: nobody makes a call with it any more, and its connections are
 * closed. Who lost it may have taken the file along: issued ones are in the coordinator's log by their SHA-256.
 */
export async function revokeCertificate(
  context: CommandContext,
  named: string,
  options: KillOptions,
): Promise<void> {
  const fingerprint = /^[0-9a-f]{64}$/i.test(named) ? named.toLowerCase() : inFile(named);
  const { command, wasRevoked } = await context.coordinator().calls.revokeCertificate({
    fingerprint,
    reason: options.reason ?? "",
    operator: context.operatorName,
  });
  if (wasRevoked) context.output.line(`certificate ${fingerprint} was revoked before`);
  await tellCommand(context, command, options);
}

function inFile(path: string): string {
  if (!existsSync(path)) {
    throw new CommandError(`${path}: expected a certificate's file, or its SHA-256`, 2);
  }
  try {
    return fingerprintOf(new X509Certificate(readFileSync(path)));
  } catch (error) {
    throw new CommandError(`${path} is no certificate: ${errorMessage(error)}`, 2);
  }
}
