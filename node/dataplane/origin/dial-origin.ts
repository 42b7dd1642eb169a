import { isIP, type LookupFunction, connect as openTcp, type Socket } from "node:net";
import { createSecureContext, connect as openTls, type SecureContext } from "node:tls";
import { READ_INTO } from "./read-into.ts";

/** Until the kernel asks an idle connection's far side whether it is still there. */
const TCP_KEEP_ALIVE_MS = 60_000;

/** How the connections to one origin are opened. */
export type OriginDial = {
  /** Value of the header. */
  readonly host: string;
  /**
   * A connection that is not open yet: `connect`, or within TLS `secureConnect`, says when it is.
   *
   * @param onRead Told how many bytes were read, into `READ_INTO`. Absent: the socket is read as any other.
   */
  open(onRead: ((bytes: number) => boolean) | undefined): Socket;
  readonly opened: "connect" | "secureConnect";
};

/**
 * Opens connections to an origin, to the addresses that `lookup` has for it. TLS is always verified, whatever the
 * environment says.
 *
 * @param origin Scheme, host and port.
 * @param of.authorities Certificates of authorities, PEM, that are trusted in place of the machine's.
 */
export function originDial(
  origin: string,
  of: { readonly lookup: LookupFunction; readonly authorities?: readonly string[] },
): OriginDial {
  const url = new URL(origin);
  const isTls = url.protocol === "https:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const to = {
    host,
    port: Number(url.port) || (isTls ? 443 : 80),
    lookup: of.lookup,
    autoSelectFamily: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
  };
  const readBy = (onRead: ((bytes: number) => boolean) | undefined) =>
    onRead === undefined ? {} : { onread: { buffer: READ_INTO, callback: onRead } };
  if (!isTls) {
    const open: OriginDial["open"] = (onRead) => openTcp({ ...to, ...readBy(onRead) });
    return { host: url.host, open, opened: "connect" };
  }
  let context: SecureContext | undefined;
  const open: OriginDial["open"] = (onRead) => {
    // Reading the machine's authorities takes longer than a handshake.
    context ??= createSecureContext({
      minVersion: "TLSv1.2",
      ...(of.authorities !== undefined && { ca: [...of.authorities] }),
    });
    return openTls({
      ...to,
      ...readBy(onRead),
      secureContext: context,
      rejectUnauthorized: true,
      ALPNProtocols: ["http/1.1"],
      ...(isIP(host) === 0 && { servername: host }),
    });
  };
  return { host: url.host, open, opened: "secureConnect" };
}
