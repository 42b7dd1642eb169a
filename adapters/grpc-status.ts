import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { DETAILS_KEY, type RpcError, statusOf } from "./grpc-error.ts";

/** The status object that grpc-js sends for an error. */
export function statusObjectOf(error: RpcError): StatusObject {
  const { code, message, details } = statusOf(error);
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(details));
  return { code, details: message, metadata };
}
