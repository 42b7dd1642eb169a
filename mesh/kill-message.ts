import { create } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Kill, KillSchema, type Record } from "../proto/gen/altrace/v1/record_pb.ts";

// A kill's Record on the wire, written and read field by field: a kill waits for both, at the coordinator and at
// every node, and the general writer and reader of messages take as long over it as half a signature does.

/** The fields of `altrace.v1.Record`, of a kill. */
export type KillMessage = Pick<
  Record,
  "mesh" | "v" | "scope" | "prev" | "cmdId" | "issuedAtMs" | "operator"
> & { readonly op: { readonly case: "kill"; readonly value: Kill } };

/** To begin from, spread: `create` takes several times as long. */
export const EMPTY_KILL: Kill = create(KillSchema);

/** The bytes that `toBinary` makes. */
export function encodeKillMessage(of: KillMessage): Uint8Array {
  const writer = new BinaryWriter();
  text(writer, 1, of.mesh);
  if (of.v !== 0n) writer.tag(2, WireType.Varint).uint64(of.v);
  text(writer, 3, of.scope);
  if (of.prev.length > 0) writer.tag(4, WireType.LengthDelimited).bytes(of.prev);
  text(writer, 5, of.cmdId);
  if (of.issuedAtMs !== 0n) writer.tag(6, WireType.Varint).int64(of.issuedAtMs);
  text(writer, 7, of.operator);
  const { reason, cause, contractEndMs } = of.op.value;
  writer.tag(10, WireType.LengthDelimited).fork();
  text(writer, 1, reason);
  text(writer, 2, cause);
  if (contractEndMs !== 0n) writer.tag(3, WireType.Varint).int64(contractEndMs);
  return writer.join().finish();
}

function text(writer: BinaryWriter, no: number, value: string): void {
  if (value !== "") writer.tag(no, WireType.LengthDelimited).string(value);
}

/**
 * Reads a kill as it is written: known fields alone, each at most once and in order.
 *
 * @returns Undefined for everything else, which the general reader judges.
 */
export function decodeKillMessage(payload: Uint8Array): KillMessage | undefined {
  try {
    return decoded(payload);
  } catch {
    return undefined;
  }
}

function decoded(payload: Uint8Array): KillMessage | undefined {
  const reader = new BinaryReader(payload);
  const of = { ...EMPTY };
  let kill: Kill | undefined;
  for (let last = 0; reader.pos < reader.len; ) {
    const [no, type] = reader.tag();
    if (no <= last || type !== TYPES[no]) return undefined;
    last = no;
    if (no === 1) of.mesh = reader.string(true);
    else if (no === 2) of.v = BigInt(reader.uint64());
    else if (no === 3) of.scope = reader.string(true);
    else if (no === 4) of.prev = reader.bytes();
    else if (no === 5) of.cmdId = reader.string(true);
    else if (no === 6) of.issuedAtMs = BigInt(reader.int64());
    else if (no === 7) of.operator = reader.string(true);
    else {
      kill = killOf(reader.bytes());
      if (kill === undefined) return undefined;
    }
  }
  return kill && { ...of, op: { case: "kill", value: kill } };
}

function killOf(bytes: Uint8Array): Kill | undefined {
  const reader = new BinaryReader(bytes);
  const kill = { ...EMPTY_KILL };
  for (let last = 0; reader.pos < reader.len; ) {
    const [no, type] = reader.tag();
    if (no <= last || type !== KILL_TYPES[no]) return undefined;
    last = no;
    if (no === 1) kill.reason = reader.string(true);
    else if (no === 2) kill.cause = reader.string(true);
    else kill.contractEndMs = BigInt(reader.int64());
  }
  return kill;
}

const EMPTY: Omit<KillMessage, "op"> = {
  mesh: "",
  v: 0n,
  scope: "",
  prev: new Uint8Array(0),
  cmdId: "",
  issuedAtMs: 0n,
  operator: "",
};

const { Varint, LengthDelimited } = WireType;
/** By the field's number. */
const TYPES: { readonly [no: number]: WireType } = {
  1: LengthDelimited,
  2: Varint,
  3: LengthDelimited,
  4: LengthDelimited,
  5: LengthDelimited,
  6: Varint,
  7: LengthDelimited,
  10: LengthDelimited,
};
const KILL_TYPES: { readonly [no: number]: WireType } = {
  1: LengthDelimited,
  2: LengthDelimited,
  3: Varint,
};
