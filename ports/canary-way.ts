/** One way on which a canary tries to get out, and the word that it carries there. */
export type CanaryWay = SocketWay | PacketWay | AskedWay | NameWay;

/** What any program may do: to its machine. */
export type SocketWay = {
  readonly word: string;
  readonly by: "tcp" | "udp";
  readonly host: string;
  readonly port: number;
  /** The port to come from: the one that answers come from; absent: any. */
  readonly from?: number;
  /** Length of a datagram that is sent in fragments, filled up behind the word; absent: the word's own. */
  readonly bytes?: number;
};

/** What only who writes packets may: to its machine, or to a pod beside it. */
export type PacketWay = {
  readonly word: string;
  readonly by: "packet";
  readonly form: PacketForm;
  readonly host: string;
  readonly port: number;
};

/** Segments of TCP that belong to no connection: whoever gets one at a port where nobody listens resets it. */
export const RESET_FORMS = ["fin", "null", "xmas", "syn-fin", "syn-ack"] as const;
/** What whoever gets it answers. */
export const ANSWERED_FORMS = ["echo", "protocol"] as const;

/**
 * Forms by family, as `canary-packets.c` writes them: a datagram in disguise, what whoever gets it would answer, and what it
 * would reset.
 */
export const PACKET_FORMS = {
  4: [
    ...(["spoofed", "options", "fragments", "loopback", "priority-tag"] as const),
    ...ANSWERED_FORMS,
    ...RESET_FORMS,
  ],
  6: [
    ...(["spoofed", "fragments", "hop-by-hop", "destination", "routing", "atomic"] as const),
    ...(["priority-tag"] as const),
    ...ANSWERED_FORMS,
    ...RESET_FORMS,
  ],
} as const satisfies Readonly<Record<4 | 6, readonly string[]>>;
export type PacketForm = (typeof PACKET_FORMS)[4 | 6][number];

/** Whoever listens there, asked over TCP for a page, or in a datagram for a name. */
export type AskedWay = {
  readonly word: string;
  readonly by: "question";
  readonly for: "page" | "name";
  readonly host: string;
  readonly port: number;
};

/** A name that the word is part of, asked of whichever resolver the canary has. */
export type NameWay = { readonly word: string; readonly by: "name" };

/** What became of an attempt, where that is more than that it was made. */
export const ANSWERED = "answered";
/** It could not be made, because the canary has not the right or the program. */
export const UNABLE = "unable";
