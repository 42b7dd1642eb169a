import { type SecureContext, TLSSocket } from "node:tls";
import type { Clock } from "../ports/clock.ts";
import type { Via } from "./dataplane/exchange.ts";
import type { Gateway, Protocol, Served } from "./dataplane/gateway.ts";
import type { HostCertificates } from "./dataplane/tls/host-certificates.ts";
import { carriesTls } from "./dataplane/tls/wire-under.ts";
import type { TunnelEnd } from "./dataplane/tunnel/carry.ts";
import { HELLO_TIMEOUT_MS, type HelloRead } from "./dataplane/tunnel/read-hello.ts";
import type { TunnelExchange } from "./dataplane/tunnel/tunnel-exchange.ts";
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

/** What is read within TLS. */
const SPOKEN: readonly string[] = ["h2", "http/1.1"] satisfies Protocol[];

/** Serves what comes on a connection whose TLS was ended here. Undefined: nobody serves any more. */
export type ServeWithin = (...of: Parameters<Gateway["serve"]>) => Served | undefined;

/**
 * Ends TLS with a certificate of the node's own, and hands what is within to a door that serves it as
 * the gateway serves its requests.
 *
 * The connection stays in the registry as what it was opened as, so that a kill finds it also while no
 * request runs on it. Of the protocols that a client offers, the first one that is read here is
 * spoken; one that offers others alone is refused.
 */
export function inspectTls(of: {
  readonly certificates: Pick<HostCertificates, "canShow" | "contextOf">;
  readonly clock: Clock;
  readonly serve: ServeWithin;
}): TlsInspection {
  return {
    canInspect: (host) => of.certificates.canShow(host),
    serve: async (asked, { hello, bytes }) => {
      const { exchange: tunnel } = asked;
      const via = viaOf(asked);
      const protocol = protocolOf(hello.protocols);
      if (protocol === undefined) {
        tunnel.fail("not_inspectable");
      } else {
        const secureContext = await contextFor(via.host, of.certificates);
        if (secureContext === undefined) tunnel.fail("not_inspectable");
        // The client may have gone, or the agent been killed, while the certificate was made.
        else if (tunnel.isOpen()) {
          tunnel.socket.unshift(bytes);
          const options = { isServer: true, secureContext, ALPNProtocols: [protocol] };
          const tls = new TLSSocket(tunnel.socket, options);
          tls.on("error", () => tls.destroy());
          carriesTls(tunnel.socket, tls);
          serveWithin(tls, { tunnel, via, protocol }, of);
        }
      }
      await new Promise<void>((resolve) => tunnel.onClosed(resolve));
      return { reason: tunnel.cutReason };
    },
  };
}

/** Undefined: what could be shown when the tunnel was allowed can be shown no more. */
async function contextFor(
  host: string,
  certificates: Pick<HostCertificates, "canShow" | "contextOf">,
): Promise<SecureContext | undefined> {
  try {
    return await certificates.contextOf(host);
  } catch (error) {
    if (certificates.canShow(host)) throw error;
    return undefined;
  }
}

function viaOf({ exchange: tunnel, identity, keyHandle, isContract }: AskedTunnel): Via {
  if (isMissing(identity) || keyHandle === undefined) {
    throw new Error("invariant broken: an allowed tunnel is somebody's");
  }
  const { target, door, original } = tunnel;
  return { ...target, door, original, agentId: identity.agentId, keyHandle, isContract };
}

/** Undefined: there is none that is read here. A client that offers nothing speaks HTTP/1.1. */
function protocolOf(offered: readonly string[]): Protocol | undefined {
  if (offered.length === 0) return "http/1.1";
  return offered.find((one) => SPOKEN.includes(one)) as Protocol | undefined;
}

function serveWithin(
  tls: TLSSocket,
  of: { readonly tunnel: TunnelExchange; readonly via: Via; readonly protocol: Protocol },
  { clock, serve }: { readonly clock: Clock; readonly serve: ServeWithin },
): void {
  const { tunnel, via, protocol } = of;
  let served: Served | undefined;
  tunnel.handOver(() => served?.hasBegun() !== true);
  // What runs within says its last words by itself; the rest is closed here.
  tunnel.onCut(() => served?.finish());
  if (protocol === "http/1.1") {
    served = serve(tls, via, protocol);
    return;
  }
  const gone = (): void => void tls.destroy();
  // HTTP/1.1 has a time for its first head, which begins with the connection, and sees its client's end.
  const cancel = clock.after(HELLO_TIMEOUT_MS, gone);
  tls.once("close", cancel);
  tls.once("end", gone);
  tls.once("secure", () => {
    cancel();
    tls.off("end", gone);
    if (tunnel.cutReason === undefined) served = serve(tls, via, protocol);
    if (served === undefined) tls.destroy();
    // A socket that no server of Node's has made counts as connecting there until it says this (Node 26.10).
    else tls.emit("secureConnect");
  });
}
