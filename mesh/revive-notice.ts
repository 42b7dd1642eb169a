import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Keys, Signer } from "../ports/keys.ts";
import { RevivedSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { openSealed, seal } from "./sealed.ts";
import type { KeyLookup } from "./trust.ts";

/** A revive that is committed: the record as it was signed, and its sequence in the control stream. */
export type ReviveNotice = { readonly record: Uint8Array; readonly seq: number };

/** A coordinator's word that a revive is committed. It vouches for the commit alone: the record is an operator's. */
export function sealReviveNotice({ record, seq }: ReviveNotice, signer: Signer): Uint8Array {
  const notice = create(RevivedSchema, { record, seq: BigInt(seq) });
  return seal("revived", toBinary(RevivedSchema, notice), signer);
}

/** Opens such a word; `undefined` for what is none, or is not signed by a key of `keyOf`. */
export function openReviveNotice(
  bytes: Uint8Array,
  keyOf: KeyLookup,
  verify: Keys["verify"],
): ReviveNotice | undefined {
  const opened = openSealed("revived", bytes, keyOf, verify);
  if (!opened) return undefined;
  try {
    const { record, seq, $unknown } = fromBinary(RevivedSchema, opened.payload);
    const isSequence = seq > 0n && seq <= BigInt(Number.MAX_SAFE_INTEGER);
    return isSequence && !$unknown ? { record, seq: Number(seq) } : undefined;
  } catch {
    return undefined;
  }
}
