import { join } from "node:path";
import { fileKeys } from "../../adapters/file-keys.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { readTrustFile } from "../../adapters/trust-file.ts";
import { writeAuthority } from "../../authority/authority-json.ts";
import { verifyChain } from "../../authority/verify-chain.ts";
import { kidOf } from "../../mesh/kid-of.ts";
import type { ContractState } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { askDelegation } from "../ask-delegation.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { chainText, readChain } from "../contract-chain.ts";
import { fileOf } from "../contract-grant.ts";

/** `altrace contract inspect <chain>`: what it says, whether or not that is true. */
export function inspectContract(context: CommandContext, chain: string): void {
  const links = readChain(chainText(chain)).map(({ id, claims }) => {
    const { authority, ...others } = claims;
    return { id, ...others, authority: writeAuthority(authority) };
  });
  context.output.result({ verified: false, links }, () => {
    context.output.line(JSON.stringify(links, undefined, 2));
    context.output.line("nothing of this was verified; see altrace contract verify");
  });
}

/** `altrace contract verify <chain>`: offline, by the operator's key that trust.json pins. */
export function verifyContract(
  context: CommandContext,
  chain: string,
  options: { readonly trust?: string },
): void {
  const pin = readTrustFile(options.trust ?? join(context.home, "trust.json"));
  const verified = verifyChain(chainText(chain), {
    mesh: pin.mesh,
    nowMs: systemClock.nowMs(),
    verify: fileKeys(context.home).verify,
    operatorKey: (kid) =>
      kid === kidOf(pin.operatorPublicKey) ? pin.operatorPublicKey : undefined,
  });
  if ("refused" in verified) throw new CommandError(`${verified.refused}: ${verified.detail}`);
  const { links, effective } = verified;
  const { notBefore, expires } = effective.validity;
  const shown = {
    verified: true,
    chain: links.map(({ id, claims }) => ({ contract: id, agent: claims.agent })),
    effective: { ...writeAuthority(effective), nbf: notBefore, exp: expires },
  };
  context.output.result(shown, () => {
    for (const { contract, agent } of shown.chain) context.output.line(`${contract}  ${agent}`);
    context.output.line(JSON.stringify(shown.effective, undefined, 2));
    context.output.line("genuine and in date; revocation and money are the mesh's to say");
  });
}

/** `altrace contract delegate`: through a node, with the key of the agent that delegates. */
export async function delegateContract(
  context: CommandContext,
  options: {
    readonly gateway: string;
    readonly key?: string;
    readonly grant?: string;
    readonly agent?: string;
    readonly node?: string;
    readonly source?: string;
    readonly holder?: string;
    readonly minutes?: string;
  },
): Promise<void> {
  const { key, grant, agent, node, source, holder, minutes } = options;
  if (key === undefined || grant === undefined) {
    throw new CommandError("--key <key> and --grant <file> are needed", 2);
  }
  const answer = await askDelegation(
    options.gateway,
    { authorization: `Bearer ${key}` },
    {
      grant: fileOf(grant),
      ...(agent !== undefined && { agent }),
      ...(node !== undefined && { node }),
      ...(source !== undefined && { source }),
      ...(holder !== undefined && { holder }),
      ...(minutes !== undefined && { ttl_s: Number(minutes) * 60 }),
    },
  );
  context.output.result(answer, () => {
    context.output.line(answer.key ?? answer.chain);
    context.output.line(
      `contract ${answer.contract} of ${answer.agent} until ${answer.expires_at}`,
    );
  });
}

/** `altrace contract revoke <id>`: kills it and everything that was delegated from it. */
export async function revokeContract(
  context: CommandContext,
  contract: string,
  options: { readonly reason?: string },
): Promise<void> {
  const { calls } = context.coordinator();
  const reason = options.reason ?? "";
  const { command, wasRevoked } = await calls.revokeContract({
    contract,
    reason,
    operator: context.operatorName,
  });
  const result = { contract, revoked: true, wasRevoked, command: command?.cmdId };
  context.output.result(result, () =>
    context.output.line(
      `contract ${contract} and everything below it ${wasRevoked ? "was revoked before" : "is revoked"}`,
    ),
  );
}

/** `altrace contract tree [id]`: who was granted what by whom, and where the money is. */
export async function contractTree(context: CommandContext, contract: string): Promise<void> {
  const { contracts } = await context.coordinator().calls.listContracts({ contract });
  context.output.result({ contracts: contracts.map(shownOf) }, () => {
    for (const one of contracts) context.output.line(lineOf(one));
    if (contracts.length === 0) context.output.line("no contracts");
  });
}

function shownOf(of: ContractState) {
  const amounts = (unit: "usdMicros" | "tokens" | "calls") => ({
    limit: Number(of.limit?.[unit] ?? 0n),
    available: Number(of.available?.[unit] ?? 0n),
    spent: Number(of.spent?.[unit] ?? 0n),
    children: Number(of.children?.[unit] ?? 0n),
  });
  return {
    contract: of.contract,
    parent: of.parent,
    agent: of.agent,
    node: of.node,
    depth: of.depth,
    state: of.state,
    expires_at: new Date(Number(of.expiresAtMs)).toISOString(),
    usd_u: amounts("usdMicros"),
    tok: amounts("tokens"),
    calls: amounts("calls"),
  };
}

function lineOf(of: ContractState): string {
  const { contract, agent, depth, state, usd_u, tok, calls } = shownOf(of);
  const dollars = (micros: number) => (micros / 1e6).toFixed(2);
  const money = `${dollars(usd_u.available)} of ${dollars(usd_u.limit)} USD`;
  const counts = `${tok.available} of ${tok.limit} tokens, ${calls.available} of ${calls.limit} calls left`;
  const moved = usd_u.children > 0 ? `, ${dollars(usd_u.children)} USD delegated` : "";
  return `${"  ".repeat(depth)}${contract}  ${agent}  ${state}  ${money}, ${counts}${moved}`;
}
