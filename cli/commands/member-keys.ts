import { existsSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { asOwnerOf } from "../../adapters/as-owner.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { identityPath, trustPath } from "../../coordinator/found-mesh.ts";
import { kidOf } from "../../mesh/kid-of.ts";
import { nodeKeyName, nodeKeysFrom } from "../../node/mesh/own-keys.ts";
import { TrustedKeySchema, TrustRole, TrustSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { parseScope } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { carrySigned } from "../operator-record.ts";

const MEMBER_PATTERN = /^(operator|node\/[^=]+)=([0-9a-f]{64})$/;

/** A key that is given in words: an operator's, or the one that a node is to have. */
export type GivenKey = {
  /** `operator`, or `node/<id>`. */
  readonly whose: string;
  readonly publicKey: Uint8Array;
};

/** Reads `operator=<key>` and `node/<id>=<key>`; undefined for what is neither, as a file's name. */
export function givenKey(words: string): GivenKey | undefined {
  const [, whose = "", hex = ""] = MEMBER_PATTERN.exec(words) ?? [];
  if (whose === "" || (whose !== "operator" && parseScope(whose)?.kind !== "node"))
    return undefined;
  return { whose, publicKey: Buffer.from(hex, "hex") };
}

/**
 * `altrace trust key operator|node`: the public half of this HOME's key, for an operator to trust. An operator's is
 * made where there is none.
 *
 * @param options.next Makes the node's next key: it signs with that from when the mesh names it, and with the one
 *   before until then.
 */
export function showKey(
  context: CommandContext,
  whose: string,
  options: { readonly next?: boolean },
): void {
  if (whose !== "operator" && whose !== "node") {
    throw new CommandError(`${whose}: expected operator or node`, 2);
  }
  if (options.next && whose !== "node") {
    throw new CommandError(
      "--next is of a node: another operator's key lies in a HOME of its own",
      2,
    );
  }
  const { publicKey } =
    whose === "operator" ? operatorsKey(context) : nodesKey(context, options.next === true);
  const hex = Buffer.from(publicKey).toString("hex");
  context.output.result({ whose, kid: kidOf(publicKey), publicKey: hex }, () =>
    context.output.line(hex),
  );
}

function operatorsKey(context: CommandContext) {
  const keys = context.operatorKeys();
  const found = keys.load("operator");
  if (found !== undefined) return found;
  const { home } = context;
  // A coordinator that finds a key which is not the pinned one does not start.
  if (existsSync(identityPath(home))) {
    throw new CommandError(
      `${home} is a coordinator's: an operator's key is made in a HOME of its own`,
    );
  }
  if (!existsSync(trustPath(home))) {
    throw new CommandError(`${trustPath(home)}: not there; it says which mesh the key is for`);
  }
  return keys.loadOrCreate("operator");
}

/** A node makes its first key itself: one that is made elsewhere would be named in place of that. */
function nodesKey({ home }: CommandContext, isNext: boolean) {
  const keys = fileKeys(join(home, "node", "keys"));
  const none = new CommandError(`${home}: no node has started here yet`);
  if (!existsSync(home)) throw none;
  return asOwnerOf(home, () => {
    const held = [...nodeKeysFrom(keys, 1)];
    const newest = held.at(-1);
    if (newest === undefined) throw none;
    return isNext ? keys.loadOrCreate(nodeKeyName(held.length + 1)) : newest;
  });
}

/**
 * `altrace trust add node/<id>=<key>`: the node of that name is whoever holds this key, and nobody else any more.
 *
 * So a machine comes back under its name that has lost its disk or was removed, and a node that serves takes its next
 * key.
 */
export async function nameNode(context: CommandContext, { whose, publicKey }: GivenKey) {
  const kid = kidOf(publicKey);
  const key = create(TrustedKeySchema, { kid, publicKey, role: TrustRole.NODE });
  const value = create(TrustSchema, { keys: [key] });
  const { calls } = context.coordinator();
  let before: string | undefined;
  await carrySigned(
    context,
    whose,
    (current) => {
      const named = current?.op.case === "trust" ? current.op.value.keys[0]?.kid : undefined;
      if (named === kid) throw new CommandError(`${whose} has this key already`);
      before = named;
      return { case: "trust", value };
    },
    (record) => calls.putKey({ record }),
  );
  context.output.result({ node: whose, kid, before: before ?? "" }, () => {
    const instead = before === undefined ? "" : `, which ${before} is no more`;
    context.output.line(`${whose} is whoever holds ${kid}${instead}`);
  });
}
