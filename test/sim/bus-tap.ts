import { fromBinary } from "@bufbuild/protobuf";
import type { Bus } from "../../ports/bus.ts";
import { AckSchema, BeatSchema, SealedSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { DIGEST_SUBJECT } from "../../proto/subjects.ts";

/** What an acknowledgement says. */
export type Ack = { readonly scope: string; readonly v: number; readonly isDurable: boolean };

/** What a heartbeat or a digest says. */
export type Beat = { readonly isOpen: boolean; readonly stateHash: string };

/** A bus whose words are told as they are sent, whatever becomes of them on their way. */
export function tapBus(
  bus: Bus,
  told: { readonly ack?: (ack: Ack) => void; readonly beat?: (beat: Beat) => void },
): Bus {
  return {
    send: (subject, bytes) => {
      if (subject.startsWith("alt.ack.")) {
        const first = fromBinary(AckSchema, payloadOf(bytes));
        for (const { scope, v, durable, refused } of [first, ...first.also]) {
          if (refused === "") told.ack?.({ scope, v: Number(v), isDurable: durable });
        }
      } else if (subject === DIGEST_SUBJECT || subject.startsWith("alt.hb.")) {
        const { open, stateHash } = fromBinary(BeatSchema, payloadOf(bytes));
        told.beat?.({ isOpen: open, stateHash: Buffer.from(stateHash).toString("hex") });
      }
      bus.send(subject, bytes);
    },
    listen: (pattern, fn) => bus.listen(pattern, fn),
    ask: (subject, bytes, timeoutMs) => bus.ask(subject, bytes, timeoutMs),
    append: (subject, bytes, options) => bus.append(subject, bytes, options),
    read: (stream, fromSeq, count) => bus.read(stream, fromSeq, count),
    last: (stream, subject) => bus.last(stream, subject),
    onUp: (fn) => bus.onUp(fn),
    isUp: () => bus.isUp(),
    close: () => bus.close(),
  };
}

function payloadOf(bytes: Uint8Array): Uint8Array {
  return fromBinary(SealedSchema, bytes).payload;
}
