import type { DescMessage } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { NodeReplySchema, NodeRequestSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";

/** What a request or a reply says of itself beside its body. */
export type Envelope = {
  /** The node that asks; "" in a reply. */
  readonly node: string;
  readonly requestId: string;
  /** Which body it has: the name of the method, or `refused`; undefined for none. */
  readonly body: string | undefined;
};

/**
 * Reads a request's names and leaves its body alone: whoever passes on what others ask and answer must
 * know whose it is, and a batch of 256 questions is more than a millisecond's decoding.
 *
 * @returns Undefined for what is no such message. That the body is one is for whoever reads it.
 */
export function requestEnvelope(bytes: Uint8Array): Envelope | undefined {
  return envelopeOf(REQUEST_FIELDS, bytes);
}

/** The same of a reply. */
export function replyEnvelope(bytes: Uint8Array): Envelope | undefined {
  return envelopeOf(REPLY_FIELDS, bytes);
}

type Fields = ReadonlyMap<number, { readonly name: string; readonly isBody: boolean }>;

const REQUEST_FIELDS = fieldsOf(NodeRequestSchema);
const REPLY_FIELDS = fieldsOf(NodeReplySchema);

function fieldsOf({ fields }: DescMessage): Fields {
  return new Map(
    fields.map(({ number, localName, oneof }) => [
      number,
      { name: localName, isBody: oneof !== undefined },
    ]),
  );
}

function envelopeOf(fields: Fields, bytes: Uint8Array): Envelope | undefined {
  const texts: Record<string, string> = {};
  let body: string | undefined;
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [number, type] = reader.tag();
      const field = fields.get(number);
      // A member of a newer version is passed over here as it is where the message is read.
      if (field === undefined) reader.skip(type);
      else if (type !== WireType.LengthDelimited) return undefined;
      else if (field.isBody) {
        // As everywhere in protobuf, of two the last one counts.
        body = field.name;
        reader.skip(type);
      } else texts[field.name] = reader.string();
    }
  } catch {
    return undefined;
  }
  return { node: texts.node ?? "", requestId: texts.requestId ?? "", body };
}
