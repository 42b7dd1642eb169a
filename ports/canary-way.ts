/** One way on which a canary tries to get out to its machine, and the word that it carries there. */
export type CanaryWay = {
  readonly word: string;
  readonly by: "tcp" | "udp";
  readonly host: string;
  readonly port: number;
  /** The port to come from: the one that answers come from; absent: any. */
  readonly from?: number;
  /** Length of a datagram that is sent in fragments, filled up behind the word; absent: the word's own. */
  readonly bytes?: number;
};
