import { readFileSync } from "node:fs";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  type Authenticator,
  type ConnectionOptions,
  credsAuthenticator,
  nkeyAuthenticator,
  type TlsOptions,
} from "@nats-io/transport-node";

export const CONNECT_TIMEOUT_MS = 1_500;
/** With two unanswered pings a dead connection is noticed within three of these. */
export const PING_INTERVAL_MS = 2_000;
export const PINGS_OUT_MAX = 2;
/** Wait between attempts, and at most as much again, so that a fleet does not come all at once. */
export const RECONNECT_WAIT_MS = 250;
/** Of a coordinator: there are three at most, and all nodes that came back before it wait for its word. */
export const COORDINATOR_RECONNECT_WAIT_MS = 50;

export type NatsBusOptions = {
  /** `nats://[user:password@]host[:port]` or `tls://`; several are separated by commas. */
  readonly url: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  /** Subject under which answers come back, where permissions name it; `_INBOX` by default. */
  readonly inboxPrefix?: string;
  /** Seed of an nkey user (`SU...`); not used where the URL names a user. */
  readonly nkeySeed?: Uint8Array;
  /** Path of a .creds file, read at every attempt. */
  readonly credsFile?: string;
  /** Files are read at every attempt; with any of them, or `tls://`, there is no way but TLS. */
  readonly tls?: {
    readonly caFile?: string;
    readonly certFile?: string;
    readonly keyFile?: string;
  };
  readonly connectTimeoutMs?: number;
  readonly pingIntervalMs?: number;
  readonly reconnectWaitMs?: number;
  readonly streamTimeoutMs?: number;
  /** What went wrong with the connection, for the log. */
  readonly onTrouble?: (message: string) => void;
};

/**
 * The client's own options for a connection that is never given up.
 *
 * @throws TypeError The URL is malformed.
 */
export function connectionOptions(options: NatsBusOptions): ConnectionOptions {
  const { name, inboxPrefix, tls } = options;
  const login = loginOf(options.url);
  const authenticator = login.user === undefined ? authenticatorOf(options) : undefined;
  return {
    ...login,
    name,
    timeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    pingInterval: options.pingIntervalMs ?? PING_INTERVAL_MS,
    maxPingOut: PINGS_OUT_MAX,
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => reconnectDelayMs(options),
    noAsyncTraces: true,
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...(authenticator === undefined ? {} : { authenticator }),
    ...(tls === undefined && login.tls === undefined ? {} : { tls: tlsOf(options.url, tls) }),
  };
}

type Identity = {
  checkServerIdentity(host: string, certificate: PeerCertificate): Error | undefined;
};

/**
 * The client checks an address's certificate against `localhost`, since an address is no server name. So
 * the hosts of the URL are what a certificate must be of: one of them, as all are equally good.
 */
function tlsOf(url: string, files: NatsBusOptions["tls"]): TlsOptions {
  const hosts = urlsIn(url).map(({ hostname }) => hostname.replace(/^\[(.*)\]$/, "$1"));
  const identity: Identity = {
    checkServerIdentity: (_host, certificate) => {
      const objections = hosts.map((host) => checkServerIdentity(host, certificate));
      return objections.includes(undefined) ? undefined : objections[0];
    },
  };
  return { ...files, ...identity } as TlsOptions;
}

/** The next wait before an attempt to connect. */
export function reconnectDelayMs(options: NatsBusOptions): number {
  const waitMs = options.reconnectWaitMs ?? RECONNECT_WAIT_MS;
  return waitMs + Math.floor(Math.random() * waitMs);
}

type Login = Pick<ConnectionOptions, "servers" | "user" | "pass" | "tls">;

/** The client itself looks neither for credentials nor for TLS in a URL. */
function loginOf(url: string): Login {
  const urls = urlsIn(url);
  const servers = urls.map(({ protocol, host }) => `${protocol}//${host}`);
  // Without this the client takes TLS where it is offered, and does without where it is not.
  const tls = urls.some(({ protocol }) => protocol === "tls:") ? { tls: {} } : {};
  const withUser = urls.find(({ username }) => username !== "");
  if (!withUser) return { servers, ...tls };
  const { username, password } = withUser;
  const user = decodeURIComponent(username);
  return { servers, ...tls, user, pass: decodeURIComponent(password) };
}

function urlsIn(url: string): readonly URL[] {
  return url.split(",").map((each) => new URL(each.trim()));
}

function authenticatorOf(options: NatsBusOptions): Authenticator | undefined {
  const { nkeySeed, credsFile } = options;
  if (nkeySeed) return nkeyAuthenticator(nkeySeed);
  if (credsFile === undefined) return undefined;
  return (nonce?: string) => credsAuthenticator(readFileSync(credsFile))(nonce);
}
