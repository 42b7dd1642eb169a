import { openFilesMax } from "../../adapters/open-files.ts";
import { openMany } from "../harness/open-many.ts";
import { StreamClient } from "../harness/stream-client.ts";
import type { Axis } from "./axis.ts";

/** As many as one agent may have open on one loop. */
const STREAMS_MAX = 10_000;
/** Of a process: logs, stores, sockets of its own. */
const OTHER_FILES = 400;

/** Streams of another agent that stay open and say little. */
export function streamsAxis(): Axis {
  const open: StreamClient[] = [];
  const files = openFilesMax() ?? 1_024;
  // In the node one towards the client and one upstream; here one of the client's and one of the upstream's.
  const most = Math.min(STREAMS_MAX, Math.floor((files - OTHER_FILES) / 2));
  return {
    name: "streams",
    of: "open streams of another agent",
    points: { full: [1, 10, 100, 1_000, most], short: [1, 100, 1_000] },
    end:
      most === STREAMS_MAX
        ? "an agent may have no more open on one loop"
        : `${files} descriptors are all that a process has here, and each stream takes two`,
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
