import { openMany } from "../harness/open-many.ts";
import { StreamClient } from "../harness/stream-client.ts";
import type { Axis } from "./axis.ts";

/** Streams of another agent that stay open and say little. */
export function streamsAxis(): Axis {
  const open: StreamClient[] = [];
  return {
    name: "streams",
    of: "open streams of another agent",
    points: { full: [1, 10, 100, 1_000, 9_000], short: [1, 100, 1_000] },
    end: "20,000 file descriptors are two for each of 9,000 streams",
    raise: async ({ altrace, keys }, to) => {
      const url = new URL(altrace.ready.gateway);
      const from = open.length;
      const more = await openMany(to - from, (i) =>
        StreamClient.open(url, keys.target, `g${from + i}`),
      );
      open.push(...more);
      return keys.neighbour;
    },
    close: () => {
      for (const one of open) one.destroy();
    },
  };
}
