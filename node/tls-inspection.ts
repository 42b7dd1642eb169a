import { TLSSocket } from "node:tls";
import type { Via } from "./dataplane/exchange.ts";
import type { HostCertificates } from "./dataplane/tls/host-certificates.ts";
import { carriesTls } from "./dataplane/tls/wire-under.ts";
import type { TunnelEnd } from "./dataplane/tunnel/carry.ts";
import type { HelloRead } from "./dataplane/tunnel/read-hello.ts";
import { isMissing } from "./decision/facts.ts";
import type { AskedTunnel } from "./gather-tunnel.ts";

/** Where TLS to model providers ends, so that the chain sees their requests. */
export type TlsInspection = {
  /** False: no certificate for this name can be shown, so nothing for it may pass. */
  canInspect(host: string): boolean;
  /** Serves the requests within until the connection is closed. */
  serve(asked: AskedTunnel, greeted: Extract<HelloRead, { bytes: Buffer }>): Promise<TunnelEnd>;
};

/** A loop that has no certificates: providers' hosts are refused, never carried blind. */
export const NO_INSPECTION: TlsInspection = {
  canInspect: () => false,
  serve: async ({ exchange }) => {
    exchange.close("not_inspectable");
    return { reason: "not_inspectable" };
  },
};

/** The only protocol that is read within TLS; a client that offers others alone is refused. */
const PROTOCOL = "http/1.1";

/**
 * Ends TLS with a certificate of the node's own, and hands what is within to a door that serves it as
 * the gateway serves its requests.
 *
 * The connection stays in the registry as what it was opened as, so that a kill finds it also while no
 * request runs on it.
 */
export function inspectTls(of: {
  readonly certificates: HostCertificates;
  readonly serve: (socket: TLSSocket, via: Via) => void;
}): TlsInspection {
  return {
    canInspect: (host) => of.certificates.canShow(host),
    serve: async (asked, { hello, bytes }) => {
      const { exchange: tunnel, identity, keyHandle, isContract } = asked;
      if (isMissing(identity) || keyHandle === undefined) {
        throw new Error("invariant broken: an allowed tunnel is somebody's");
      }
      if (hello.protocols.length > 0 && !hello.protocols.includes(PROTOCOL)) {
        tunnel.fail("not_inspectable");
      } else {
        const { host, port } = tunnel.target;
        const secureContext = await of.certificates.contextOf(host);
        // The client may have gone, or the agent been killed, while the certificate was made.
        if (tunnel.isOpen()) {
          tunnel.socket.unshift(bytes);
          const tls = new TLSSocket(tunnel.socket, {
            isServer: true,
            secureContext,
            ALPNProtocols: [PROTOCOL],
          });
          tls.on("error", () => tls.destroy());
          carriesTls(tunnel.socket, tls);
          tunnel.handOver();
          const { agentId } = identity;
          const { door, original } = tunnel;
          of.serve(tls, { host, port, door, original, agentId, keyHandle, isContract });
        }
      }
      await new Promise<void>((resolve) => tunnel.onClosed(resolve));
      return { reason: tunnel.cutReason };
    },
  };
}
