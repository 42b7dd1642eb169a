import { RevokedCertificates } from "../adapters/grpc-revoked.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";

/**
 * Certificates that the mesh has revoked, as the mesh thread tells of them: those of its disk first.
 *
 * @param link Of a thread that has just been started, so that nothing it says is missed.
 */
export function revokedBy(link: Pick<MeshThreadLink, "onMessage">): RevokedCertificates {
  const revoked = new RevokedCertificates();
  link.onMessage((message) => {
    if (message.t === "revoked") revoked.add(message.fingerprint);
  });
  return revoked;
}
