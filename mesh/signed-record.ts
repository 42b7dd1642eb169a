import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

// A SignedRecord on the wire, written and read field by field. A kill waits for both, and the general reader of
// messages takes half as long over these two fields as the check of a signature does.

/** `altrace.v1.SignedRecord`: an Ed25519 signature goes with the name of its key. */
export type SignedRecord = {
  readonly payload: Uint8Array;
  readonly signatures: readonly RecordSignature[];
};
type RecordSignature = { readonly kid: string; readonly sig: Uint8Array };

/** It has a field that this program does not know. */
export class UnknownField extends Error {}

/** The bytes that `toBinary` makes. */
export function encodeSignedRecord({ payload, signatures }: SignedRecord): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).bytes(payload);
  for (const { kid, sig } of signatures) {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(kid);
    writer.tag(2, WireType.LengthDelimited).bytes(sig).join();
  }
  return writer.finish();
}

/**
 * Reads what `fromBinary` reads, but for what no writer makes: a field of another wire type than its own.
 *
 * @throws UnknownField, or what the reader throws: these bytes are no such message.
 */
export function decodeSignedRecord(bytes: Uint8Array): SignedRecord {
  const reader = new BinaryReader(bytes);
  const signatures: RecordSignature[] = [];
  let payload: Uint8Array = new Uint8Array(0);
  while (reader.pos < reader.len) {
    // As everywhere in protobuf, of two payloads the last one counts.
    if (fieldOf(reader, "SignedRecord") === 1) payload = reader.bytes();
    else signatures.push(decodeSignature(reader.bytes()));
  }
  return { payload, signatures };
}

function decodeSignature(bytes: Uint8Array): RecordSignature {
  const reader = new BinaryReader(bytes);
  let kid = "";
  let sig: Uint8Array = new Uint8Array(0);
  while (reader.pos < reader.len) {
    if (fieldOf(reader, "SignedRecord.signatures") === 1) kid = reader.string(true);
    else sig = reader.bytes();
  }
  return { kid, sig };
}

/** Both messages have two fields, and both of them a length. */
function fieldOf(reader: BinaryReader, path: string): 1 | 2 {
  const [no, type] = reader.tag();
  if (no !== 1 && no !== 2) throw new UnknownField(`${path}, field ${no}`);
  if (type !== WireType.LengthDelimited) throw new TypeError(`${path}, field ${no}: wire type`);
  return no;
}
