/** Ways that somebody's order reaches a process. `home`: a file that only the owner of HOME can write. */
export const CALL_WAYS = ["socket", "tls", "mesh", "home"] as const;

/**
 * What a `call` record says: what somebody asked of the control plane, and what they were told. It is in a
 * coordinator's own log; a node's has those that it refused for the caller's role.
 */
export type CallFields = {
  /** The method, snake_case, such as `create_enrolment_token`; `unlisted` for one that nobody may call. */
  readonly op: string;
  /** `ok`: it was done. Otherwise why not. */
  readonly rc: string;
  readonly via: (typeof CALL_WAYS)[number];
  /** By their certificate, or by their own word where the socket is their only proof. */
  readonly who?: string;
  /** The role in the certificate. */
  readonly role?: string;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly crt?: string;
  /** What it is about, as in a `command` record. */
  readonly scope?: string;
  /** Id of the command that came of it. */
  readonly cmd?: string;
  /** Why, in their words. */
  readonly why?: string;
  /** Calls that this record stands for. Absent means 1. */
  readonly n?: number;
};
