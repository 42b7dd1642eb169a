import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { Metadata, type StatusObject, status } from "@grpc/grpc-js";

/** The gRPC status names that this system answers with. */
export type RpcCode = Exclude<keyof typeof status, "OK" | "UNKNOWN" | "DATA_LOSS">;

export type RpcErrorFields = {
  readonly code: RpcCode;
  /** Snake-case name from a closed registry: what programs look at. */
  readonly reason: string;
  /** One sentence for a person. */
  readonly message: string;
  /** The request's field that is wrong, as the .proto names it. */
  readonly field?: string;
};

/**
 * A call's no. Thrown by a handler it becomes a status with details; a client throws it again.
 *
 * The details are `google.rpc.ErrorInfo` and, when a field is named, `google.rpc.BadRequest`.
 *
 * @see https://google.aip.dev/193
 */
export class RpcError extends Error {
  readonly code: RpcCode;
  readonly reason: string;
  readonly field: string | undefined;
  constructor(fields: RpcErrorFields, options?: { cause: unknown }) {
    super(fields.message, options);
    this.name = "RpcError";
    this.code = fields.code;
    this.reason = fields.reason;
    this.field = fields.field;
  }
}

/** Whose reasons these are, so that a caller of several systems can tell them apart. */
export const ERROR_DOMAIN = "altrace.v1";

const DETAILS_KEY = "grpc-status-details-bin";
const ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST_URL = "type.googleapis.com/google.rpc.BadRequest";
/** Trailers travel in one header block, which peers bound at 8 KiB by default. */
const MESSAGE_CHARS_MAX = 1024;

/** The status object that grpc-js sends for an error. */
export function statusOf(error: RpcError): StatusObject {
  // The header is percent-encoded, and a lone surrogate has no encoding: it would throw there.
  const message = error.message.slice(0, MESSAGE_CHARS_MAX).toWellFormed();
  const metadata = new Metadata();
  const code = status[error.code];
  metadata.set(DETAILS_KEY, Buffer.from(encodeStatus(code, message, error)));
  return { code, details: message, metadata };
}

/** The error behind a failed call. A status without readable details keeps its code as the reason. */
export function errorOfStatus(failed: {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}): RpcError {
  const code = codeName(failed.code);
  const bytes = failed.metadata.get(DETAILS_KEY)[0];
  const details = typeof bytes === "object" ? decodeStatus(bytes) : {};
  return new RpcError(
    {
      code,
      reason: details.reason ?? code.toLowerCase(),
      message: failed.details,
      ...(details.field === undefined ? {} : { field: details.field }),
    },
    { cause: failed },
  );
}

function codeName(code: number): RpcCode {
  const name = status[code];
  // A code outside the registry, and those we never send, say only that something went wrong.
  return name === undefined || ["OK", "UNKNOWN", "DATA_LOSS"].includes(name)
    ? "INTERNAL"
    : (name as RpcCode);
}

// google.rpc.Status {int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3}
// google.rpc.ErrorInfo {string reason = 1; string domain = 2; map<string, string> metadata = 3}
// google.rpc.BadRequest {repeated FieldViolation field_violations = 1}
// FieldViolation {string field = 1; string description = 2; string reason = 3}
// https://github.com/googleapis/googleapis/tree/master/google/rpc

function encodeStatus(code: number, message: string, error: RpcError): Uint8Array {
  const info = new BinaryWriter().uint32(tag(1)).string(error.reason);
  info.uint32(tag(2)).string(ERROR_DOMAIN);
  const writer = new BinaryWriter().uint32(8).int32(code).uint32(tag(2)).string(message);
  writer.uint32(tag(3)).bytes(anyOf(ERROR_INFO_URL, info.finish()));
  if (error.field !== undefined) {
    const violation = new BinaryWriter().uint32(tag(1)).string(error.field);
    violation.uint32(tag(2)).string(message).uint32(tag(3)).string(error.reason);
    const bad = new BinaryWriter().uint32(tag(1)).bytes(violation.finish());
    writer.uint32(tag(3)).bytes(anyOf(BAD_REQUEST_URL, bad.finish()));
  }
  return writer.finish();
}

/** The tag of a length-delimited field. */
function tag(field: number): number {
  return (field << 3) | 2;
}

function anyOf(typeUrl: string, value: Uint8Array): Uint8Array {
  return toBinary(AnySchema, create(AnySchema, { typeUrl, value }));
}

function decodeStatus(bytes: Uint8Array): { reason?: string; field?: string } {
  try {
    const found: { reason?: string; field?: string } = {};
    for (const detail of lengthDelimited(bytes, 3).map((any) => fromBinary(AnySchema, any))) {
      Object.assign(found, readDetail(detail));
    }
    return found;
  } catch {
    // A peer's malformed details must not hide the status they came with.
    return {};
  }
}

function readDetail(detail: Any): { reason?: string; field?: string } {
  if (detail.typeUrl === ERROR_INFO_URL) {
    const reason = lengthDelimited(detail.value, 1)[0];
    return reason === undefined ? {} : { reason: Buffer.from(reason).toString() };
  }
  if (detail.typeUrl === BAD_REQUEST_URL) {
    const violation = lengthDelimited(detail.value, 1)[0];
    const field = violation === undefined ? undefined : lengthDelimited(violation, 1)[0];
    return field === undefined ? {} : { field: Buffer.from(field).toString() };
  }
  return {};
}

/** Every value of one length-delimited field, in order; other fields are skipped. */
function lengthDelimited(bytes: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(bytes);
  const values: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === wanted && wireType === 2) values.push(reader.bytes());
    else reader.skip(wireType, field);
  }
  return values;
}
