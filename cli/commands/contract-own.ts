import { hash } from "node:crypto";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { type ContractSigner, contractSigner } from "../../adapters/jose-signing.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { meet } from "../../authority/authority.ts";
import { childClaims } from "../../authority/child-claims.ts";
import { writeClaims } from "../../authority/claims.ts";
import { planDelegation } from "../../authority/delegation.ts";
import { readEnvelope } from "../../authority/token.ts";
import { type Contract, LINK_SEPARATOR } from "../../authority/verify-chain.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { uuidV7 } from "../../ports/random.ts";
import { askDelegation, delegationsUrl } from "../ask-delegation.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { chainText, readChain } from "../contract-chain.ts";
import { fileOf } from "../contract-grant.ts";

// Contracts that an agent holds by a key of its own: signed and proven here, with that key alone.

export type OwnOptions = {
  readonly key?: string;
  readonly chain?: string;
};

export type OfflineOptions = OwnOptions & {
  readonly grant?: string;
  readonly agent?: string;
  readonly holder?: string;
  readonly source?: string;
  readonly minutes?: string;
};

/** `altrace contract holder`: the public key that others grant and delegate to. */
export async function holderOfKey(context: CommandContext, options: OwnOptions): Promise<void> {
  const { x } = await signerOf(options);
  context.output.result({ holder: x }, () => context.output.line(x));
}

/** `altrace contract delegate --offline`: a link that is signed here, and no node is asked. */
export async function delegateOffline(
  context: CommandContext,
  options: OfflineOptions,
): Promise<void> {
  const { grant, agent, holder, source, minutes } = options;
  if (grant === undefined || holder === undefined) {
    throw new CommandError("--offline needs --grant <file> and --holder <key>", 2);
  }
  const signer = await signerOf(options);
  const { chain, links } = chainOf(options);
  const leaf = leafOf(options);
  if (leaf.claims.holder.x !== signer.x) throw new CommandError("the key is not this contract's");
  const delegator = {
    agent: leaf.claims.agent,
    effective: links.map(({ claims }) => claims.authority).reduce(meet),
    depthLeft: leaf.claims.depthMax - leaf.claims.depth,
  };
  const nowMs = systemClock.nowMs();
  const nowS = Math.floor(nowMs / 1000);
  const wish = {
    grant: fileOf(grant),
    holder,
    ...(agent !== undefined && { agent }),
    ...(source !== undefined && { source }),
    ...(minutes !== undefined && { ttl_s: Number(minutes) * 60 }),
  };
  const planned = planDelegation(wish, delegator, nowS);
  if ("refused" in planned) throw new CommandError(`${planned.refused}: ${planned.detail}`);
  const claims = childClaims(leaf, {
    agent: planned.agent,
    holder: { crv: "Ed25519", kty: "OKP", x: planned.holder },
    bearer: { sha256: "", source: planned.source },
    label: uuidV7(nowMs, cryptoRandom),
    nowS,
    authority: planned.authority,
  });
  const token = await signer.sign({ alg: "Ed25519", typ: "altrace-dc+jwt" }, writeClaims(claims));
  const longer = `${chain}${LINK_SEPARATOR}${token}`;
  const { id: contract } = readEnvelope(token);
  context.output.result({ contract, agent: planned.agent, chain: longer }, () => {
    context.output.line(longer);
    context.output.line(`contract ${contract} of ${planned.agent}, unfunded`);
  });
}

/** `altrace contract fund`: has the delegator's node move the money of what it delegated by itself. */
export async function fundContract(
  context: CommandContext,
  options: OwnOptions & {
    readonly child?: string;
    readonly node?: string;
    readonly gateway: string;
  },
): Promise<void> {
  const { child, node } = options;
  if (child === undefined) throw new CommandError("--child <chain or @file> is needed", 2);
  const url = delegationsUrl(options.gateway);
  const token = leafOf(options).id;
  const headers = await proven(await signerOf(options), { token, method: "POST", url });
  const body = { chain: chainText(child), ...(node !== undefined && { node }) };
  const answer = await askDelegation(options.gateway, headers, body);
  context.output.result({ contract: answer.contract, funded: true }, () =>
    context.output.line(`contract ${answer.contract} is funded`),
  );
}

/** `altrace contract prove`: the two headers of one request, as `curl -H @-` reads them. */
export async function proveContract(
  context: CommandContext,
  options: OwnOptions & { readonly method: string; readonly url?: string },
): Promise<void> {
  if (options.url === undefined) throw new CommandError("--url <url> is needed", 2);
  const token = leafOf(options).id;
  const { method, url } = options;
  const headers = await proven(await signerOf(options), { token, method, url });
  context.output.result(headers, () => {
    for (const [name, value] of Object.entries(headers)) context.output.line(`${name}: ${value}`);
  });
}

/** What RFC 9449 has a client send beside a token; the node is asked for its nonce first. */
async function proven(
  signer: ContractSigner,
  of: { readonly token: string; readonly method: string; readonly url: string },
): Promise<{ readonly authorization: string; readonly dpop: string }> {
  const { origin, pathname } = new URL(of.url);
  const authorization = `DPoP ${of.token}`;
  const json = { "content-type": "application/json" };
  const challenge = await fetch(of.url, {
    method: of.method,
    headers: { authorization, ...(of.method === "POST" && json) },
    ...(of.method === "POST" && { body: "{}" }),
  });
  await challenge.body?.cancel();
  const nonce = challenge.headers.get("dpop-nonce");
  if (nonce === null) {
    const reason = challenge.headers.get("x-altrace-reason") ?? String(challenge.status);
    throw new CommandError(`${reason}: ${origin} gives no nonce for this contract`);
  }
  const claims = {
    ath: hash("sha256", of.token, "base64url"),
    htm: of.method,
    htu: `${origin}${pathname}`,
    iat: Math.floor(systemClock.nowMs() / 1000),
    jti: uuidV7(systemClock.nowMs(), cryptoRandom),
    nonce,
  };
  const jwk = { crv: "Ed25519", kty: "OKP", x: signer.x };
  const dpop = await signer.sign({ alg: "Ed25519", jwk, typ: "dpop+jwt" }, JSON.stringify(claims));
  return { authorization, dpop };
}

/** As it says of itself: whether it is genuine is the node's to say. */
function chainOf({ chain: given }: OwnOptions): {
  readonly chain: string;
  readonly links: readonly Contract[];
} {
  if (given === undefined) throw new CommandError("--chain <chain or @file> is needed", 2);
  const chain = chainText(given);
  return { chain, links: readChain(chain) };
}

function leafOf(options: OwnOptions): Contract {
  return chainOf(options).links.at(-1) as Contract;
}

async function signerOf({ key }: OwnOptions): Promise<ContractSigner> {
  if (key === undefined) throw new CommandError("--key <file> is needed", 2);
  return contractSigner(key).catch((error: unknown) => {
    throw new CommandError(errorMessage(error), 2);
  });
}
