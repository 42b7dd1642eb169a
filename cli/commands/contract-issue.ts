import { createHash } from "node:crypto";
import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { contractSigner } from "../../adapters/jose-signing.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { type Claims, operatorUri, writeClaims } from "../../authority/claims.ts";
import { type HolderJwk, holderJwk, publicKeyOf } from "../../authority/holder-key.ts";
import { kidOf } from "../../mesh/kid-of.ts";
import { restoreRecord } from "../../mesh/record.ts";
import { CONTRACT_KEY_PREFIX } from "../../node/credential.ts";
import { newVirtualKey } from "../../node/new-virtual-key.ts";
import { uuidV7 } from "../../ports/random.ts";
import { SignedRecordSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseAgentId } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { readGrantFile } from "../contract-grant.ts";

export type IssueOptions = {
  readonly grant?: string;
  readonly node?: string;
  readonly sub?: string;
  readonly hours?: string;
  readonly maxDepth?: string;
  readonly source?: string;
  readonly holder?: string;
};

/** `altrace contract issue <agent>`: a root, signed by the operator, and the key it is born with. */
export async function issueContract(
  context: CommandContext,
  agent: string,
  options: IssueOptions,
): Promise<void> {
  if (parseAgentId(agent) === undefined) {
    throw new CommandError(`${agent}: expected team/agent`, 2);
  }
  if (options.grant === undefined) throw new CommandError("--grant <file> is needed", 2);
  const nowS = Math.floor(systemClock.nowMs() / 1000);
  const hours = wholeNumber(options.hours ?? "8", { name: "--hours", max: 24 });
  const dates = { notBefore: nowS, expires: nowS + hours * 3600 };
  const authority = readGrantFile(options.grant, dates);
  const { calls } = context.coordinator();
  const held = await holderFor(context, options);
  const signer = await contractSigner(join(context.home, "operator.key"));
  const kid = kidOf(Buffer.from(signer.x, "base64url"));
  // Whoever holds its own key proves possession of it, and needs no other.
  const key =
    options.holder === undefined ? newVirtualKey(cryptoRandom, CONTRACT_KEY_PREFIX).key : undefined;
  const claims: Claims = {
    mesh: held.mesh,
    subject: options.sub ?? `operator:${context.operatorName}`,
    agent,
    holder: held.holder,
    bearer: {
      sha256: key === undefined ? "" : createHash("sha256").update(key).digest("base64url"),
      source: options.source ?? "",
    },
    issuer: operatorUri(kid),
    label: uuidV7(systemClock.nowMs(), cryptoRandom),
    depth: 0,
    depthMax: wholeNumber(options.maxDepth ?? "4", { name: "--max-depth", max: 8 }),
    issuedAt: nowS,
    parent: "",
    authority,
  };
  const header = { alg: "Ed25519" as const, kid, typ: "altrace-dc+jwt" };
  const chain = await signer.sign(header, writeClaims(claims));
  const { contract } = await calls.issueContract({ chain, node: held.node });
  const shown = { contract: contract?.contract ?? "", agent, node: held.node, key, chain };
  context.output.result(shown, () => {
    context.output.line(key ?? chain);
    context.output.line(`contract ${shown.contract} of ${agent} on ${held.node}, for ${hours} h`);
    context.output.line(
      key === undefined
        ? "its agent proves possession of its key: altrace contract prove"
        : "this is the only time the key is shown",
    );
  });
}

/** The node that is to serve it, and the key that holds it: that node's, or the agent's own. */
async function holderFor(
  context: CommandContext,
  { node: wanted, holder: x }: IssueOptions,
): Promise<{ readonly mesh: string; readonly node: string; readonly holder: HolderJwk }> {
  const node = wanted ?? (await onlyNode(context));
  const { mesh, publicKey } = await nodeKey(context, node);
  if (x === undefined) return { mesh, node, holder: holderJwk(publicKey) };
  const holder = holderJwk(Buffer.from(x, "base64url"));
  if (holder.x !== x || publicKeyOf(holder) === undefined) {
    throw new CommandError("--holder: not the base64url of an Ed25519 public key", 2);
  }
  return { mesh, node, holder };
}

async function onlyNode(context: CommandContext): Promise<string> {
  const { nodes } = await context.coordinator().calls.listNodes({});
  const [node, ...others] = nodes;
  if (node !== undefined && others.length === 0) return node.node;
  throw new CommandError("--node <id>: there is not exactly one node to hold the contract", 2);
}

async function nodeKey(
  context: CommandContext,
  node: string,
): Promise<{ readonly mesh: string; readonly publicKey: Uint8Array }> {
  const { mesh, record } = await context.coordinator().calls.getScope({ scope: `node/${node}` });
  const read = record && restoreRecord(toBinary(SignedRecordSchema, record), { mesh });
  const op = read?.ok ? read.record.op : undefined;
  const key = op?.case === "trust" ? op.value.keys[0] : undefined;
  if (key === undefined) throw new CommandError(`${node}: no such node is enrolled`);
  return { mesh, publicKey: key.publicKey };
}

function wholeNumber(text: string, of: { readonly name: string; readonly max: number }): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= of.max) return value;
  throw new CommandError(`${of.name}: expected 1 to ${of.max}`, 2);
}
