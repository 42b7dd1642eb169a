import { sign } from "node:crypto";
import { ContractDesk } from "../../../../node/mesh/contract-desk.ts";
import type { DelegationsDeps } from "../../../../node/mesh/delegations.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { HOLDERS, MESH, verifyEd25519 } from "../../../support/contract-forge.ts";

/** This node's key, which holds roots. */
export const NODE = HOLDERS[0];

/** A node that delegates with keys of its own, and a ledger behind `ask` that is the test's. */
export function delegationWorld(
  given: Pick<DelegationsDeps, "trust" | "clock" | "ask" | "onRate">,
): DelegationsDeps & { readonly desk: ContractDesk } {
  const desk = new ContractDesk({
    mesh: MESH,
    trust: given.trust,
    clock: given.clock,
    ask: given.ask,
    isOwn: (publicKey) => Buffer.compare(publicKey, NODE.publicKey) === 0,
    endedMs: () => 0,
    trustVersion: () => 1,
    verify: verifyEd25519,
    nextTurn: async () => undefined,
  });
  const signer = {
    kid: NODE.kid,
    publicKey: NODE.publicKey,
    sign: (bytes: Uint8Array) => sign(null, bytes, NODE.privateKey),
  };
  return { ...given, node: "node-1", signer, desk, random: twinRandom(5) };
}
