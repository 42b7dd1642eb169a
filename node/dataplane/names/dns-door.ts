import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { readDnsQuestion } from "./dns-question.ts";
import { type DnsCode, dnsFlaw, dnsRefusal, dnsStandIn } from "./dns-reply.ts";

// The resolver of captured agents. It knows which names are granted to whom, and nothing else: it has no
// upstream, so no name that an agent makes up ever leaves this machine.

export type DnsDoorOptions = {
  /** Addresses to listen on. */
  readonly hosts: readonly string[];
  /** 0: any free port, of one address alone. */
  readonly port: number;
  /** What a source may know of a name: `granted`, or why it is not told. */
  readonly judge: (source: string, name: string) => "granted" | DnsCode;
  readonly onFault: (error: unknown) => void;
};

export type DnsDoor = { readonly port: number; close(): Promise<void> };

/** Opens the resolver. Rejects, with nothing left open, when an address cannot be had. */
export async function openDnsDoor(options: DnsDoorOptions): Promise<DnsDoor> {
  const sockets: Socket[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(
      sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    );
  };
  try {
    for (const host of options.hosts) {
      const socket = createSocket(
        isIPv6(host) ? { type: "udp6", ipv6Only: true } : { type: "udp4" },
      );
      await bound(socket, host, options.port);
      sockets.push(socket);
      socket.on("error", options.onFault);
      socket.on("message", (bytes, from) => reply(socket, bytes, from, options));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { port: sockets[0]?.address().port ?? 0, close };
}

function reply(socket: Socket, bytes: Buffer, from: RemoteInfo, options: DnsDoorOptions): void {
  const answer = dnsAnswer(bytes, from.address, options.judge);
  // Whether it arrives is the client's to find out: it asks again.
  if (answer !== undefined) socket.send(answer, from.port, from.address, () => undefined);
}

/** The answer to one datagram; undefined where none is owed. */
export function dnsAnswer(
  bytes: Uint8Array,
  source: string,
  judge: DnsDoorOptions["judge"],
): Uint8Array | undefined {
  const read = readDnsQuestion(bytes);
  if (read === undefined) return undefined;
  if ("flaw" in read) return dnsFlaw(read.id, read.flaw);
  const verdict = judge(source, read.question.name);
  return verdict === "granted" ? dnsStandIn(read.question) : dnsRefusal(read.question, verdict);
}

function bound(socket: Socket, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off("error", reject);
      resolve();
    });
  });
}
