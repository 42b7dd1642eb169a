import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import { connect as connectSocket, isIP, type Socket } from "node:net";
import { checkServerIdentity, connect as connectTls } from "node:tls";
import { http2 } from "../ports/http2-module.ts";

export type GrpcTarget =
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "tls";
      readonly host: string;
      readonly port: number;
      readonly serverCaPem: string;
      readonly certificatePem: string;
      readonly keyPem: string;
    };

type Live = { readonly session: ClientHttp2Session; calls: number };

const CONNECT_MS_MAX = 20_000;
/** Megabytes of open calls; what one of them may hold is bounded by its reader. */
const SESSION_MEMORY_MB = 1_024;

/**
 * The connection that a client's calls share. It is made for the first call, and again for the next one after it was
 * lost; while no call is open it keeps no process alive.
 */
export class GrpcConnection {
  readonly #target: GrpcTarget;
  readonly #authority: string;
  #live: Live | undefined;

  constructor(target: GrpcTarget) {
    this.#target = target;
    this.#authority = target.kind === "unix" ? "localhost" : authorityOf(target);
  }

  /**
   * Begins a call. A connection that cannot be made, or is lost, is its stream's error.
   *
   * @param timeout As `grpc-timeout` has it; empty: none.
   */
  request(path: string, timeout: string): ClientHttp2Stream {
    const live = this.#usable();
    const { session } = live;
    const stream = session.request(this.#headersOf(path, timeout));
    live.calls += 1;
    if (live.calls === 1) session.ref();
    stream.once("close", () => {
      live.calls -= 1;
      if (live.calls === 0 && !session.destroyed) session.unref();
    });
    return stream;
  }

  /** Calls that are open end by themselves. */
  close(): void {
    this.#live?.session.close();
    this.#live = undefined;
  }

  #headersOf(path: string, timeout: string): readonly string[] {
    const headers = [
      ...[":method", "POST", ":scheme", this.#target.kind === "unix" ? "http" : "https"],
      ...[":authority", this.#authority, ":path", path],
      ...["te", "trailers", "content-type", "application/grpc", "user-agent", "altrace"],
    ];
    return timeout === "" ? headers : [...headers, "grpc-timeout", timeout];
  }

  #usable(): Live {
    const current = this.#live;
    if (current && !current.session.closed && !current.session.destroyed) return current;
    const session = http2().connect(`http://${this.#authority}`, {
      createConnection: () => socketTo(this.#target),
      settings: { enablePush: false },
      maxSessionMemory: SESSION_MEMORY_MB,
    });
    const late = setTimeout(() => {
      session.destroy(new Error(`no connection within ${CONNECT_MS_MAX} ms`));
    }, CONNECT_MS_MAX).unref();
    session.once("connect", () => clearTimeout(late));
    session.once("close", () => clearTimeout(late));
    // Every call hears of it by its own stream.
    session.on("error", () => undefined);
    this.#live = { session, calls: 0 };
    return this.#live;
  }
}

function authorityOf({ host, port }: Extract<GrpcTarget, { kind: "tls" }>): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

function socketTo(target: GrpcTarget): Socket {
  if (target.kind === "unix") return connectSocket(target.path);
  const { host, port, serverCaPem, certificatePem, keyPem } = target;
  return connectTls({
    host,
    port,
    ca: serverCaPem,
    cert: certificatePem,
    key: keyPem,
    ALPNProtocols: ["h2"],
    // An IP address is no server name (RFC 6066).
    ...(isIP(host) === 0 && { servername: host }),
    // The name in the certificate is checked against the host that was asked for, not against SNI.
    checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
  }).setNoDelay(true);
}
