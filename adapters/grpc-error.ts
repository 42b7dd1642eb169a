import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";

/** The gRPC status codes that this system answers with, by name. */
export const RPC_CODES = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

export type RpcCode = keyof typeof RPC_CODES;

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

/** The trailer that carries an error's details. */
export const DETAILS_KEY = "grpc-status-details-bin";
const ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST_URL = "type.googleapis.com/google.rpc.BadRequest";
/** Trailers travel in one header block, which peers bound at 8 KiB by default. */
const MESSAGE_CHARS_MAX = 1024;

/** A status as it travels. */
export type WireStatus = {
  readonly code: number;
  readonly message: string;
  /** What `grpc-status-details-bin` holds, where it came. */
  readonly details: Uint8Array | undefined;
};

/** The status that tells of an error. */
export function statusOf(error: RpcError): WireStatus & { readonly details: Uint8Array } {
  // The header is percent-encoded, and a lone surrogate has no encoding: it would throw there.
  const message = error.message.slice(0, MESSAGE_CHARS_MAX).toWellFormed();
  const code = RPC_CODES[error.code];
  return { code, message, details: encodeStatus(code, message, error) };
}

/** The error behind a failed call. A status without readable details keeps its code as the reason. */
export function errorOfStatus({ code: number, message, details: bytes }: WireStatus): RpcError {
  const code = codeName(number);
  const details = bytes === undefined ? {} : decodeStatus(bytes);
  return new RpcError({
    code,
    reason: details.reason ?? code.toLowerCase(),
    message,
    ...(details.field === undefined ? {} : { field: details.field }),
  });
}

/** A code outside the registry, and those we never send, say only that something went wrong. */
function codeName(code: number): RpcCode {
  const known = Object.entries(RPC_CODES).find(([, number]) => number === code);
  return (known?.[0] as RpcCode | undefined) ?? "INTERNAL";
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
