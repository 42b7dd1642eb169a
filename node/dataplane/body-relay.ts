/** The part of a relay that depends on what kind of answer it is. */
export type BodyRelay = {
  /** False: no more for now. */
  data(chunk: Uint8Array): boolean;
  end(): void;
  /** What came is not what its encoding says. Absent: then the answer is refused. */
  unreadable?(): void;
  /** All that the answer says has been relayed, whatever becomes of its connection. */
  readonly complete?: boolean;
};
