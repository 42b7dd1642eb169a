/** One way on which a canary tries to get out, and the word that it carries there. */
export type CanaryWay = SocketWay | PacketWay | NameWay;

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

/** What only who writes packets may: to its machine. */
export type PacketWay = {
  readonly word: string;
  readonly by: "packet";
  readonly form: PacketForm;
  readonly host: string;
  readonly port: number;
};

/** Forms by family, as `canary-packets.c` writes them: a datagram in disguise, or what the machine itself would answer. */
export const PACKET_FORMS = {
  4: ["spoofed", "options", "fragments", "echo", "protocol"],
  6: [
    ...["spoofed", "fragments", "hop-by-hop", "destination", "routing", "atomic"],
    ...["echo", "protocol"],
  ],
} as const satisfies Readonly<Record<4 | 6, readonly string[]>>;
export type PacketForm = (typeof PACKET_FORMS)[4 | 6][number];

/** A name that the word is part of, asked of whichever resolver the canary has. */
export type NameWay = { readonly word: string; readonly by: "name" };

/** What became of an attempt, where that is more than that it was made. */
export const ANSWERED = "answered";
/** It could not be made, because the canary has not the right or the program. */
export const UNABLE = "unable";
