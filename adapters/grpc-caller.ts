// Who calls over TLS, and whether they may.
//
// C1. A caller is one URI of its certificate's subject alternative names, `spiffe://<mesh>/role/<role>/<name>`.
//     None, two, another mesh's or another word for a role is no caller, whoever signed it. Neither is one
//     with a name that has to be quoted, which could hold what looks like a second one.
// C2. A method that the table does not name is nobody's.
// C3. A connection may outlive its certificate; a call may not.
// C4. A revoked certificate is nobody's, and connections that it opened are closed.

import type { ServerHttp2Session } from "node:http2";
import type { TLSSocket } from "node:tls";
import { CALL_ROLES, type CallRole, callerUri, LEAST_ROLE, reaches } from "../proto/call-roles.ts";
import { isName } from "../proto/ids.ts";
import { RpcError } from "./grpc-error.ts";
import { CallerConnections, type RevokedCertificates } from "./grpc-revoked.ts";

/** A caller as its certificate has it. */
export type Caller = { readonly role: CallRole; readonly name: string };

/** A caller and the certificate that says so. */
export type CallerOf = Caller & {
  /** SHA-256 of the certificate, 64 hexadecimal digits. */
  readonly fingerprint: string;
};

/** What of a verified certificate is looked at. */
export type CallerCertificate = {
  /** As Node writes it: `URI:spiffe://..., DNS:...`; a value with a comma in it is in quotes. */
  readonly subjectaltname?: string | undefined;
  readonly valid_to: string;
  /** SHA-256 in pairs of digits with colons between them, upper case. */
  readonly fingerprint256: string;
};

/** Node's spelling of a fingerprint as records have it. */
export function fingerprintOf({
  fingerprint256,
}: Pick<CallerCertificate, "fingerprint256">): string {
  return fingerprint256.replaceAll(":", "").toLowerCase();
}

/** Who calls, by a verified certificate; undefined: none was shown, or it names nobody of this mesh. */
export function callerBy(
  certificate: CallerCertificate | undefined,
  mesh: string,
): CallerOf | undefined {
  const caller = certificate && callerOf(certificate, mesh);
  return caller && { ...caller, fingerprint: fingerprintOf(certificate) };
}

/** The caller of a verified certificate; undefined: it names none of this mesh. */
export function callerOf(
  { subjectaltname = "" }: Pick<CallerCertificate, "subjectaltname">,
  mesh: string,
): Caller | undefined {
  if (subjectaltname.includes('"')) return undefined;
  const uris = subjectaltname.split(", ").filter((name) => name.startsWith("URI:"));
  const [, role, name = ""] =
    /^URI:spiffe:\/\/[^/]+\/role\/([a-z]+)\/([^/]+)$/.exec(uris[0] ?? "") ?? [];
  const known = CALL_ROLES.find((one) => one === role);
  if (uris.length !== 1 || known === undefined || !isName(name)) return undefined;
  return uris[0] === `URI:${callerUri(mesh, known, name)}` ? { role: known, name } : undefined;
}

/** Why this call is refused; undefined: it may be made. */
export function callObjection(of: {
  /** As HTTP/2 carries it, with its slash. */
  readonly path: string;
  readonly mesh: string;
  /** Undefined: none was shown. */
  readonly certificate: CallerCertificate | undefined;
  readonly nowMs: number;
  readonly revoked?: Pick<RevokedCertificates, "has"> | undefined;
}): RpcError | undefined {
  const { path, mesh, certificate, nowMs, revoked } = of;
  const validToMs = Date.parse(certificate?.valid_to ?? "");
  if (certificate === undefined || !(nowMs < validToMs)) {
    return refused("UNAUTHENTICATED", "certificate_expired", "The certificate is not valid now.");
  }
  if (revoked?.has(fingerprintOf(certificate))) {
    return refused("UNAUTHENTICATED", "certificate_revoked", "The certificate was revoked.");
  }
  const caller = callerOf(certificate, mesh);
  if (caller === undefined) {
    const message = `The certificate names no role in ${mesh}.`;
    return refused("PERMISSION_DENIED", "role_missing", message);
  }
  const method = path.slice(1);
  const least = Object.hasOwn(LEAST_ROLE, method) ? LEAST_ROLE[method] : undefined;
  if (least === undefined) {
    return refused(
      "PERMISSION_DENIED",
      "method_unlisted",
      "Nobody may make this call over the network.",
    );
  }
  if (reaches(caller.role, least)) return undefined;
  const message = `${caller.name} is ${caller.role}; this call needs ${least}.`;
  return refused("PERMISSION_DENIED", "role_too_low", message);
}

/** Told of a call over TLS that its caller may not make. The method is as HTTP/2 carries it. */
export type OnDenied = (why: RpcError, method: string, caller: CallerOf | undefined) => void;

/** What of a call is looked at before its message is read. */
type GatedCall = {
  readonly path: string;
  readonly session: ServerHttp2Session | undefined;
  /** Said here. */
  caller: CallerOf | undefined;
};

/**
 * Looks at calls before their message is read, says who makes them, and returns why one is refused. For what is
 * behind TLS alone.
 */
export function callerGate(of: {
  readonly mesh: string;
  readonly onDenied: OnDenied;
  readonly revoked: RevokedCertificates | undefined;
}): (call: GatedCall) => RpcError | undefined {
  const { mesh, onDenied, revoked } = of;
  const connections = new CallerConnections();
  revoked?.onAdded((fingerprint) => connections.close(fingerprint));
  // A connection's certificate is of its handshake, and to read it takes longer than all else here.
  const shown = new WeakMap<ServerHttp2Session, CallerCertificate>();
  return (call) => {
    const { path, session } = call;
    const certificate = session && (shown.get(session) ?? certificateOf(session));
    if (certificate) shown.set(session, certificate);
    const caller = callerBy(certificate, mesh);
    const objection = callObjection({ path, mesh, certificate, nowMs: Date.now(), revoked });
    if (objection !== undefined) onDenied(objection, path, caller);
    else if (session && caller) connections.called(session, caller.fingerprint);
    call.caller = caller;
    return objection;
  };
}

function certificateOf(session: ServerHttp2Session): CallerCertificate | undefined {
  const socket = session.socket as TLSSocket;
  if (!socket.authorized) return undefined;
  const certificate = socket.getPeerCertificate();
  // Without one it is an object with nothing in it.
  return certificate.raw ? certificate : undefined;
}

function refused(
  code: "UNAUTHENTICATED" | "PERMISSION_DENIED",
  reason: string,
  message: string,
): RpcError {
  return new RpcError({ code, reason, message });
}
