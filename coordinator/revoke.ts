import { contractEndOf } from "../mesh/contract-end.ts";
import type { MeshRecord } from "../mesh/record.ts";
import { uuidV7 } from "../ports/random.ts";
import type {
  RevokeCertificateRequest,
  RevokeContractRequest,
} from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { parseScope } from "../proto/ids.ts";
import { CallRefused } from "./call-refusal.ts";
import type { Command } from "./command.ts";
import { commandState } from "./command-state.ts";
import { mustBeContract } from "./contract-calls.ts";
import type { Registry } from "./registry.ts";
import type { ServiceOptions } from "./service.ts";

type RevokeOptions = Pick<ServiceOptions, "clock" | "random" | "commands" | "replica" | "ledger">;

/** A revocation's command, and whether it had been revoked before this call. */
type Revoked = { readonly command: Command; readonly wasRevoked: boolean };

/** @param caller Whom the call's certificate names. @throws CallRefused, CommandRefused */
export function revokeContract(
  options: RevokeOptions,
  { contract, reason, operator }: RevokeContractRequest,
  caller: string | undefined,
): Promise<Revoked> {
  mustBeContract(contract);
  const { ledger, replica } = options;
  const contractEndMs = ledger.contractEndMs(contract);
  if (contractEndMs !== undefined && contractEndMs <= replica.state.contractsEndedMs) {
    // Nobody would keep its revocation, and nobody takes it for valid.
    const message = `Contract ${contract} has ended.`;
    throw new CallRefused({ code: "FAILED_PRECONDITION", reason: "contract_expired", message });
  }
  const of = { scope: `contract/${contract}`, reason, operator: caller ?? operator };
  return revoke(options, { ...of, contractEndMs });
}

/** @param caller Whom the call's certificate names. @throws CallRefused, CommandRefused */
export function revokeCertificate(
  options: RevokeOptions,
  { fingerprint, reason, operator }: RevokeCertificateRequest,
  caller: string | undefined,
): Promise<Revoked> {
  const scope = `certificate/${fingerprint}`;
  if (parseScope(scope) === undefined) {
    const message = `${fingerprint} is no SHA-256 of a certificate.`;
    const field = "fingerprint";
    throw new CallRefused({ code: "INVALID_ARGUMENT", reason: "malformed_scope", message, field });
  }
  return revoke(options, { scope, reason, operator: caller ?? operator });
}

export function revokedState({ command, wasRevoked }: Revoked, registry: Registry) {
  return { command: commandState(command, registry), wasRevoked };
}

/** A kill like any other, but of a scope that nothing revives. */
async function revoke(
  { clock, random, commands, replica }: RevokeOptions,
  of: {
    readonly scope: string;
    readonly reason: string;
    readonly operator: string;
    readonly contractEndMs?: number | undefined;
  },
): Promise<Revoked> {
  const before = replica.state.get(of.scope);
  // Nothing undoes a revocation, so the first one is the only one.
  if (before && isKeptUntil(before, of.contractEndMs)) {
    return { command: await commands.again(before), wasRevoked: true };
  }
  const command = await commands.kill({ ...of, cmdId: uuidV7(clock.nowMs(), random), cause: "" });
  return { command, wasRevoked: before !== undefined };
}

/** False: whoever revoked the contract did not know its end, or told it too early. */
function isKeptUntil(revocation: MeshRecord, endMs: number | undefined): boolean {
  return endMs === undefined || (contractEndOf(revocation) ?? endMs) >= endMs;
}
