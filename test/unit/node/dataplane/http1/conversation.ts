import { isViolation, readHead } from "../../../../../node/dataplane/head-rules.ts";
import type { ReceivedHead } from "../../../../../node/dataplane/http1/request-head.ts";
import { RequestReader } from "../../../../../node/dataplane/http1/request-reader.ts";
import type { Reason } from "../../../../../proto/reasons.ts";

export const READER_LIMITS = {
  headBytesMax: 16 * 1024,
  chunkExtensionBytesMax: 1_024,
  chunkExtensionsBytesMax: 16 * 1024,
  trailerBytesMax: 8 * 1024,
};

export type Told = {
  readonly method: string;
  readonly target: string;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
  /** A character a byte; of the last request as much as came of it. */
  body: string;
  isWhole: boolean;
};

/** Everything that was made of a connection's bytes, and why no more of it was read, if that was their fault. */
export type Conversation = { readonly told: readonly Told[]; readonly fault: Reason | undefined };

/** What a reader makes of it, and the rules about heads, as a connection has them. */
export function readByUs(pieces: readonly Uint8Array[]): Conversation {
  const reader = new RequestReader(READER_LIMITS);
  const told: Told[] = [];
  for (const piece of pieces) {
    reader.push(Buffer.from(piece));
    for (let reading = reader.next(); reading !== "more"; reading = reader.next()) {
      const last = told.at(-1);
      if (reading === "fault") return { told, fault: reader.fault?.reason };
      if (reading === "body" && last !== undefined) last.body += reader.body.toString("latin1");
      if (reading === "whole" && last !== undefined) {
        last.isWhole = true;
        if (isLast(last)) return { told, fault: undefined };
      }
      if (reading !== "head") continue;
      const head = reader.head as ReceivedHead;
      const framing = readHead(head, { headersMax: 128 });
      if (isViolation(framing)) return { told, fault: framing.reason };
      told.push({ ...head, body: "", isWhole: false });
      reader.frame(framing.bodyBytes);
    }
  }
  return { told, fault: undefined };
}

/** Behind a request that ends its connection llhttp reads nothing, and neither does a connection of ours. */
function isLast({ rawHeaders }: Told): boolean {
  return rawHeaders.some(
    (name, i) =>
      i % 2 === 0 &&
      name.toLowerCase() === "connection" &&
      /(^|,)\s*close\s*(,|$)/i.test(rawHeaders[i + 1] as string),
  );
}
