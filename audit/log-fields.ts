/**
 * What a `log` record says: a log of a node that must exist, as the coordinator cosigned it. It is in a
 * coordinator's own log, which so is a log of all logs: before the first cosignature, and while the log grows about
 * once a minute.
 */
export type LogFields = {
  readonly origin: string;
  /** What its checkpoints are verified by, as C2SP tools take it. */
  readonly vkey: string;
  readonly size: number;
  /** Root at that size, lower-case hex. */
  readonly root: string;
};
