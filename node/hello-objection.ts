import type { Reason } from "../proto/reasons.ts";
import type { HelloRead } from "./dataplane/tunnel/read-hello.ts";

/** What a first message has against carrying it to this host: both must name the same. */
export function helloObjection(read: HelloRead, host: string): Reason | undefined {
  if ("flaw" in read) return read.flaw;
  const { serverName, isEncrypted } = read.hello;
  if (isEncrypted) return "encrypted_hello";
  if (serverName === undefined) return "server_name_missing";
  return serverName === host ? undefined : "server_name_mismatch";
}
