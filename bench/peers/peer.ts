/** Another program for the same work, which is measured beside Altrace and is no part of it. */
export type Peer = {
  readonly name: string;
  readonly version: string;
  /** Where it comes from, for whoever reads the table. */
  readonly origin: string;
  /** How it was set up, and what it does not do while it is measured. */
  readonly fairness: string;
  /**
   * Installs it into an empty folder.
   *
   * @throws NotToBeHad The registry is not reached, or does not have this version for this machine.
   */
  readonly bring: (folder: string) => Promise<void>;
  /** How it is started; nothing is started here. */
  readonly launch: (of: LaunchOptions) => PeerLaunch;
};

export type LaunchOptions = {
  /** Where it was installed. */
  readonly folder: string;
  /** A folder of this run's own, for configuration and for what the program writes. */
  readonly scratch: string;
  /** The provider that it forwards to, `http://host:port`. */
  readonly upstream: string;
  /** Where it has to listen on 127.0.0.1. */
  readonly port: number;
};

export type PeerLaunch = {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Configuration by file name within the scratch folder, written before the start. */
  readonly files: Readonly<Record<string, string>>;
  /** Where it takes chat completions. Default: OpenAI's path. */
  readonly path?: string;
  /** What a request must carry besides the usual. */
  readonly headers?: Readonly<Record<string, string>>;
};

/** A peer could not be installed here: it is left out of the table, with this as the reason. */
export class NotToBeHad extends Error {
  override readonly name = "NotToBeHad";
}

/** The key that callers of peers show; those that check one are set up with it. */
export const PEER_KEY = "sk-bench-0123456789";
