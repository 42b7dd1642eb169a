import { Denials } from "../adapters/grpc-denials.ts";
import type { RevokedCertificates } from "../adapters/grpc-revoked.ts";
import { type GrpcServer, served, serveGrpc } from "../adapters/grpc-server.ts";
import { grpcTlsListen } from "../adapters/grpc-tls-settings.ts";
import { NodeService } from "../proto/gen/altrace/v1/node_service_pb.ts";
import { nodeServiceHandlers } from "./api/node-service.ts";
import type { NodeView } from "./api/node-view.ts";
import type { NodeParts } from "./app.ts";
import type { AuditLog } from "./audit-log.ts";

const GRPC_REQUEST_BYTES_MAX = 1_000_000;

/** Listens for operators: on a unix socket, and over TLS where certificates are given. */
export async function serveNodeGrpc(
  view: NodeView,
  path: string,
  { config, mesh, clock, log }: NodeParts,
  { audit, revoked }: { readonly audit: AuditLog; readonly revoked: RevokedCertificates },
): Promise<GrpcServer> {
  const denials = new Denials(clock, (denial) =>
    audit.append({ v: 1, k: "call", t: clock.nowMs(), node: config.nodeId, ...denial }),
  );
  const server = await serveGrpc({
    services: [served(NodeService, nodeServiceHandlers(view, clock))],
    listen: [{ kind: "unix", path }, ...grpcTlsListen(config.grpcTls, mesh)],
    requestBytesMax: GRPC_REQUEST_BYTES_MAX,
    streamsMax: 64,
    connectionsMax: 64,
    revoked,
    onDenied: (why, method, caller) => {
      log.callDenied(method, why.reason, why.message);
      denials.note(why, method, caller);
    },
    onRenewed: log.grpcRenewed,
    onBug: (error, method) => log.fault(method, error),
  });
  server.setServing(NodeService.typeName, true);
  return server;
}
