import type { TunnelEnd } from "./dataplane/tunnel/carry.ts";
import type { HelloRead } from "./dataplane/tunnel/read-hello.ts";
import type { AskedTunnel } from "./gather-tunnel.ts";

/** Where TLS to model providers ends, so that the chain sees their requests. */
export type TlsInspection = {
  /** False: no certificate for this name can be shown, so nothing for it may pass. */
  canInspect(host: string): boolean;
  /** Serves the requests within until the connection is closed. Rejects never. */
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
