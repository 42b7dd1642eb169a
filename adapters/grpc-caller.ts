// Who calls over TLS, and whether they may.
//
// C1. A caller is one URI of its certificate's subject alternative names, `spiffe://<mesh>/role/<role>/<name>`.
//     None, two, another mesh's or another word for a role is no caller, whoever signed it. Neither is one
//     with a name that has to be quoted, which could hold what looks like a second one.
// C2. A method that the table does not name is nobody's.
// C3. A connection may outlive its certificate; a call may not.
// C4. A revoked certificate is nobody's, and connections that it opened are closed. So are all of them once the
//     authority is another: whom the one before had signed for is nobody now.

import {
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
} from "@grpc/grpc-js";
import { CALL_ROLES, type CallRole, callerUri, LEAST_ROLE, reaches } from "../proto/call-roles.ts";
import { isName } from "../proto/ids.ts";
import { RpcError } from "./grpc-error.ts";
import type { CallerConnections, RevokedCertificates } from "./grpc-revoked.ts";
import { statusObjectOf } from "./grpc-status.ts";

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

/** Refuses calls before their message is read. For servers behind TLS alone. */
export function roleGate(of: {
  readonly mesh: string;
  readonly onDenied: OnDenied;
  readonly revoked: RevokedCertificates | undefined;
  readonly connections: CallerConnections;
  /** Called before each call; it may close connections. */
  readonly look: () => void;
}) {
  const { mesh, onDenied, revoked, connections, look } = of;
  const gate: ServerInterceptor = (method, call) => {
    const auth = call.getAuthContext();
    const { sslPeerCertificate: certificate } = auth;
    const nowMs = Date.now();
    look();
    const objection = connections.has(call.getPeer())
      ? callObjection({ path: method.path, mesh, certificate, nowMs, revoked })
      : refused(
          "UNAUTHENTICATED",
          "authority_replaced",
          "The authority is another: connect again.",
        );
    if (objection === undefined) {
      if (certificate) connections.called(call.getPeer(), fingerprintOf(certificate));
      return new AdmittedCall(call, auth);
    }
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata(() => {
        onDenied(objection, method.path, callerBy(certificate, mesh));
        call.sendStatus(statusObjectOf(objection));
      })
      .build();
    return new ServerInterceptingCall(call, { start: (next) => next(listener) });
  };
  return gate;
}

type AuthContext = ReturnType<ServerInterceptingCall["getAuthContext"]>;

/** A call that remembers who makes it: a certificate is read anew each time, which takes as long as a signature. */
class AdmittedCall extends ServerInterceptingCall {
  readonly #auth: AuthContext;

  constructor(call: ConstructorParameters<typeof ServerInterceptingCall>[0], auth: AuthContext) {
    super(call);
    this.#auth = auth;
  }

  override getAuthContext(): AuthContext {
    return this.#auth;
  }
}

function refused(
  code: "UNAUTHENTICATED" | "PERMISSION_DENIED",
  reason: string,
  message: string,
): RpcError {
  return new RpcError({ code, reason, message });
}
