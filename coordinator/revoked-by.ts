import { RevokedCertificates } from "../adapters/grpc-revoked.ts";
import type { MeshRecord } from "../mesh/record.ts";
import type { Replica } from "./replica.ts";

/** Certificates that the mesh has revoked, as this coordinator knows it now and from now on. */
export function revokedBy(replica: Pick<Replica, "state" | "onRecord">): RevokedCertificates {
  const revoked = new RevokedCertificates();
  const learn = ({ parsed, op }: MeshRecord): void => {
    if (parsed.kind === "certificate" && op.case === "kill") revoked.add(parsed.id);
  };
  for (const record of replica.state.records()) learn(record);
  replica.onRecord(learn);
  return revoked;
}
