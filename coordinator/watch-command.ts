import type { Clock } from "../ports/clock.ts";
import { pause } from "../ports/pause.ts";
import type { Command } from "./command.ts";
import { CommandRefused } from "./command-refused.ts";
import { commandState } from "./command-state.ts";
import type { Registry } from "./registry.ts";

/** Containment comes with time and not with a message, so a watcher looks again this often. */
export const WATCH_EVERY_MS = 250;
/**
 * Between two messages to a watcher, for each node that has a line in them: a line costs this process some 15
 * microseconds, which the acks that it tells of have to wait for.
 */
export const WATCH_GAP_MS_PER_NODE = 0.2;
/** At most, however many nodes there are. */
export const WATCH_GAP_MS_MAX = 1_000;

export type WatchOptions = {
  readonly registry: Pick<Registry, "onProgress" | "progress" | "isDone">;
  readonly clock: Clock;
};

/**
 * How far a command is, whenever that has changed, until it is done. Acks of many nodes come at once: one message tells of
 * all that came since the one before.
 *
 * @throws CommandRefused Another record of the scope was faster.
 */
export async function* watchCommand(
  { registry, clock }: WatchOptions,
  command: Command,
  { signal }: { readonly signal: AbortSignal },
) {
  let told = "";
  while (!signal.aborted) {
    if (command.conflict) throw new CommandRefused("conflict", `${command.scope} has moved on`);
    const news = new AbortController();
    const off = registry.onProgress(command.cmdId, () => news.abort());
    // Whoever is told may go in that moment: this is left at any of its waits.
    try {
      const state = commandState(command, registry);
      const gist = gistOf(state);
      if (gist !== told) yield { command: state };
      told = gist;
      if (state.done) return;
      const gapMs = Math.min(WATCH_GAP_MS_MAX, WATCH_GAP_MS_PER_NODE * (state.nodes?.length ?? 0));
      await pause(clock, gapMs, signal);
      await pause(clock, WATCH_EVERY_MS, AbortSignal.any([news.signal, signal]));
    } finally {
      off();
    }
  }
}

/** What makes a state worth telling: everything but times, which only come with something else. */
function gistOf({ v, accepted, committed, nodes = [] }: ReturnType<typeof commandState>): string {
  const gists = nodes.map(({ node, ack, contained }) => {
    const { durable, closed, refused: reason } = ack ?? {};
    return `${node} ${ack !== undefined} ${durable} ${closed} ${reason} ${contained}`;
  });
  return `${v} ${accepted} ${committed}\n${gists.join("\n")}`;
}
