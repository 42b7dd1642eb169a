import { PAIRS_MIN } from "../harness/paired.ts";
import { tellProgress } from "../harness/progress.ts";
import { measureTarget, type Slice, type SliceMs } from "./measure-target.ts";
import type { Target } from "./target.ts";

/** A small JSON answer, and a stream of 100 chunks. */
export const WISHES = ["answer", "stream"] as const;

/** What each target, by name, did within some seconds. */
export type Round = ReadonlyMap<string, Readonly<Record<(typeof WISHES)[number], Slice>>>;

/** All in turn, over and over: what one round sees of a shared machine, each of them sees. */
export async function measureRounds(
  targets: readonly Target[],
  sliceMs: SliceMs,
): Promise<readonly Round[]> {
  const rounds: Round[] = [];
  while (rounds.length < PAIRS_MIN) {
    tellProgress(`round ${rounds.length + 1} of ${PAIRS_MIN}`);
    const round = new Map<string, Record<(typeof WISHES)[number], Slice>>();
    for (const target of targets) {
      const answer = await measureTarget(target, "answer", sliceMs);
      round.set(target.name, { answer, stream: await measureTarget(target, "stream", sliceMs) });
    }
    rounds.push(round);
  }
  return rounds;
}
