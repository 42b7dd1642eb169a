import type { Beat } from "../proto/gen/altrace/v1/mesh_pb.ts";

/** What is known of one enrolled node. Times are this process's monotonic ms unless said otherwise. */
export type NodeWatch = {
  readonly node: string;
  /** Its newest heartbeat; `undefined` since this coordinator started. */
  beat: Beat | undefined;
  /** When it was last heard, or when waiting for it began. */
  heardMs: number;
  /** The same on the wall clock, ms since the Unix epoch, for people. */
  heardAtMs: number;
  /** Boots that have ended, newest last: what they send counts no more. */
  readonly endedBoots: string[];
};

const ENDED_BOOTS_MAX = 16;

export function watchNode(node: string, now: { monoMs: number; wallMs: number }): NodeWatch {
  return { node, beat: undefined, heardMs: now.monoMs, heardAtMs: now.wallMs, endedBoots: [] };
}

/**
 * Takes in a heartbeat whose signature was checked.
 *
 * Within a boot only a larger number is news. Another boot takes over if its id is later (boot ids
 * are UUIDv7) or the one before has fallen silent; an ended one never comes back. So a recording
 * played back cannot keep a dead node alive beside a living one.
 *
 * @param isSilent Whether the node has not been heard for so long that it counts as silent.
 * @returns False when the heartbeat is no news.
 */
export function takeBeat(
  watch: NodeWatch,
  beat: Beat,
  now: { readonly monoMs: number; readonly wallMs: number; readonly isSilent: boolean },
): boolean {
  const before = watch.beat;
  if (before && before.bootId === beat.bootId) {
    if (beat.n <= before.n) return false;
  } else if (before) {
    if (watch.endedBoots.includes(beat.bootId)) return false;
    if (beat.bootId < before.bootId && !now.isSilent) return false;
    watch.endedBoots.push(before.bootId);
    if (watch.endedBoots.length > ENDED_BOOTS_MAX) watch.endedBoots.shift();
  }
  watch.beat = beat;
  watch.heardMs = now.monoMs;
  watch.heardAtMs = now.wallMs;
  return true;
}
