import type { Clock } from "../ports/clock.ts";
import { STREAM_PREFIXES } from "../proto/subjects.ts";
import type { AppendWatch } from "./append-watch.ts";
import { type Command, isPending } from "./command.ts";
import type { Commands } from "./commands.ts";
import { streamOfScope } from "./commit-command.ts";

/** What has to come into one stream, and whether that stream takes it. */
export type StreamWait = {
  readonly stream: string;
  /** Accepted commands that are not in it, and the age of the oldest in ms; 0 where there is none. */
  readonly uncommitted: number;
  readonly uncommittedMs: number;
  /** Since when appends come to nothing, in ms, and what the last one met; 0 where none waits. */
  readonly unansweredMs: number;
  readonly error: string;
  /** Servers whose copy of it is not current. */
  readonly behind: readonly string[];
  /** Why its leader did not say which are; empty where it did, or nobody asks. */
  readonly silent: string;
};

export type StreamWaitsOptions = {
  readonly commands: Pick<Commands, "all">;
  readonly appends: AppendWatch;
  readonly clock: Clock;
  readonly serversBehind?: (() => ReadonlyMap<string, readonly string[]>) | undefined;
  readonly streamsSilent?: (() => ReadonlyMap<string, string>) | undefined;
};

/** Every stream of the mesh, by what this coordinator has to bring into it. */
export function streamWaits(of: StreamWaitsOptions): readonly StreamWait[] {
  const pending = [...of.commands.all()].filter(isPending);
  return STREAM_PREFIXES.map(([stream]) => {
    const own = pending.filter(({ scope }) => streamOfScope(scope) === stream);
    const unanswered = of.appends.unanswered(stream);
    return {
      stream,
      uncommitted: own.length,
      uncommittedMs: ageMs(own, of.clock.nowMs()),
      unansweredMs: unanswered?.forMs ?? 0,
      error: unanswered?.error ?? "",
      behind: of.serversBehind?.().get(stream) ?? [],
      silent: of.streamsSilent?.().get(stream) ?? "",
    };
  });
}

/** By the wall clock, since the oldest may be of an earlier run; one that was set back makes nothing younger than new. */
function ageMs(commands: readonly Command[], nowMs: number): number {
  return Math.max(0, ...commands.map(({ acceptedAtMs }) => nowMs - acceptedAtMs));
}
