import type { CallControl, OriginCall } from "../../../../node/dataplane/origin/call.ts";
import type { OriginPool } from "../../../../node/dataplane/origin-pool.ts";

/** One call, and what was told of it so far. */
export type AskedOrigin = {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly bytes: Buffer;
  readonly control: CallControl | undefined;
  /** Status and body, once it is whole. Rejects with its fault. */
  readonly whole: Promise<string>;
};

export type AskOptions = Partial<OriginCall> & {
  readonly mayConnect?: () => boolean;
  readonly mayWrite?: () => boolean;
  /** What it does with each piece of a body. */
  readonly onBody?: (control: CallControl) => void;
  readonly onEnd?: () => void;
};

/** Asks, and keeps what is told. */
export function askOrigin(pool: Pick<OriginPool, "dispatch">, of: AskOptions = {}): AskedOrigin {
  const { mayConnect = YES, mayWrite = YES, onBody, onEnd, ...call } = of;
  const ended = Promise.withResolvers<string>();
  // Not every test waits for the end.
  ended.promise.catch(() => undefined);
  const asked = {
    status: 0,
    rawHeaders: [] as readonly string[],
    bytes: Buffer.alloc(0),
    control: undefined as CallControl | undefined,
    whole: ended.promise,
  };
  pool.dispatch(
    { method: "GET", path: "/", headers: [], body: new Uint8Array(0), ...call },
    {
      mayConnect,
      mayWrite: (control) => {
        asked.control = control;
        return mayWrite();
      },
      onHead: (status, rawHeaders) => Object.assign(asked, { status, rawHeaders }),
      onBody: (bytes) => {
        asked.bytes = Buffer.concat([asked.bytes, bytes]);
        onBody?.(asked.control as CallControl);
      },
      onEnd: () => {
        onEnd?.();
        ended.resolve(`${asked.status} ${asked.bytes}`);
      },
      onFault: (fault) => ended.reject(fault),
    },
  );
  return asked;
}

const YES = (): boolean => true;
