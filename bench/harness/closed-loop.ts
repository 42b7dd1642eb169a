import { RawPool, type RawTls } from "./raw-pool.ts";

export type Answer = {
  readonly status: number;
  readonly reason: string | undefined;
  readonly tookNs: bigint;
};

export type ClosedLoopOptions = {
  readonly origin: string;
  readonly key: string;
  /** Default: where OpenAI takes chat completions. */
  readonly path?: string;
  /** Besides the usual ones. */
  readonly headers?: Readonly<Record<string, string>>;
  /** For an origin with TLS; see `RawPool`. */
  readonly tls?: RawTls;
  /** Connections that were open before and stay open; default: its own, closed at the end. */
  readonly pool?: RawPool;
  /** Each waits for its answer before it asks again. */
  readonly connections: number;
  /** Pause after each answer; 0: none. */
  readonly pauseMs: number;
  /** Awaited before each question. */
  readonly turn?: () => Promise<void>;
  /** The next request's id and body. */
  readonly next: () => { readonly id: string; readonly body: string };
  readonly onAnswer: (answer: Answer, id: string) => void;
  /** A connection that broke. Default: the bench ends. */
  readonly onBroken?: (error: unknown) => void;
};

/** Asks until the signal says stop; resolves when the last answer is there. */
export async function closedLoop(options: ClosedLoopOptions, signal: AbortSignal): Promise<void> {
  const { origin, connections, tls, pool: kept } = options;
  const pool = kept ?? new RawPool(origin, { connections, ...(tls !== undefined && { tls }) });
  try {
    await Promise.all(Array.from({ length: connections }, () => askInTurn(pool, options, signal)));
  } finally {
    if (kept === undefined) pool.close();
  }
}

async function askInTurn(pool: RawPool, options: ClosedLoopOptions, signal: AbortSignal) {
  const { key, path, headers, pauseMs, turn, next, onAnswer } = options;
  while (!signal.aborted) {
    await turn?.();
    if (signal.aborted) return;
    const { id, body } = next();
    const startedNs = process.hrtime.bigint();
    try {
      const { status, reason } = await pool.ask({ key, path, headers, body, id });
      onAnswer({ status, reason, tookNs: process.hrtime.bigint() - startedNs }, id);
    } catch (error) {
      if (options.onBroken === undefined) throw error;
      options.onBroken(error);
    }
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
