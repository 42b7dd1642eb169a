import { DEAD_MAN_MS } from "../sim-coordinator.ts";
import type { Oracle } from "./oracle.ts";

/** A digest entitles until it is half as old as the dead-man's time; then it may still be on its way. */
const AGE_MS_MAX = DEAD_MAN_MS / 2 + 2_000;

export const opensWithEqualState: Oracle = {
  name: "opens-with-equal-state",
  rule: "A node opens only while its state is one that the coordinator has said, not long ago, is the mesh's (K2).",
  watch: ({ time }) => {
    /** When the coordinator last said each state. */
    const saidMs = new Map<string, number>();
    const open = new Map<string, boolean>();
    return {
      on: (event) => {
        if (event.t === "digest") saidMs.set(event.stateHash, time.nowMs);
        if (event.t !== "beat") return undefined;
        const { node, bootId, isOpen, stateHash } = event;
        const hasOpened = isOpen && open.get(bootId) !== true;
        open.set(bootId, isOpen);
        if (!hasOpened) return undefined;
        const atMs = saidMs.get(stateHash);
        if (atMs !== undefined && time.nowMs - atMs <= AGE_MS_MAX) return undefined;
        return `${node} opened with state ${stateHash.slice(0, 16)}, of which no digest spoke`;
      },
    };
  },
};
