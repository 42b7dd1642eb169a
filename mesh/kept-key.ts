import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { type Record as RecordMessage, RecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import type { Scope } from "../proto/ids.ts";
import type { MeshRecord } from "./record.ts";
import type { ReadRecord } from "./record-form.ts";
import type { RecordOp } from "./record-op.ts";
import { decodeSignedRecord } from "./signed-record.ts";

const KEY_PREFIX = "key/";

/**
 * The record of a virtual key. Every replica holds those of all agents, and looks at what most of them say once: so it
 * is kept as the bytes that came, in one string, and read again when somebody asks. That is 0.6 KB instead of some 3.
 */
export class KeptKey implements MeshRecord {
  readonly scope: string;
  readonly v: number;
  readonly issuedAtMs: number;
  readonly kids: readonly string[];
  readonly hashHex: string;
  /** The SignedRecord, a character for each byte: an array of its own would be an object and memory beside the heap. */
  readonly #signed: string;

  /** @param record Read and checked, with op `key`. */
  constructor(record: ReadRecord & Pick<MeshRecord, "kids">, payload: Uint8Array) {
    this.scope = record.scope;
    this.v = record.v;
    this.issuedAtMs = record.issuedAtMs;
    this.kids = record.kids;
    this.hashHex = createHash("sha256").update(payload).digest("hex");
    const { buffer, byteOffset, length } = record.bytes;
    this.#signed = Buffer.from(buffer, byteOffset, length).toString("latin1");
  }

  get bytes(): Uint8Array {
    return Buffer.from(this.#signed, "latin1");
  }

  get hash(): Uint8Array {
    return Buffer.from(this.hashHex, "hex");
  }

  get parsed(): Scope {
    return { kind: "key", id: this.scope.slice(KEY_PREFIX.length) };
  }

  /** What is asked of most is only what it is. */
  get op(): RecordOp {
    const said = () => this.#message.op;
    return {
      case: "key",
      get value() {
        const op = said();
        if (op.case !== "key") throw new Error("invariant broken: a key's record is another one");
        return op.value;
      },
    };
  }

  get prev(): Uint8Array {
    return this.#message.prev;
  }

  get cmdId(): string {
    return this.#message.cmdId;
  }

  get operator(): string {
    return this.#message.operator;
  }

  get #message(): RecordMessage {
    return fromBinary(RecordSchema, decodeSignedRecord(this.bytes).payload);
  }
}
