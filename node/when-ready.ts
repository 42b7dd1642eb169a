import type { Clock } from "../ports/clock.ts";
import { pause } from "../ports/pause.ts";
import type { NodeView } from "./api/node-view.ts";
import type { LoopLink } from "./loop-link.ts";

const LOOK_MS = 5;

/** Resolves once the node allows requests, or rejects after `timeoutMs` with why it does not. */
export async function whenReady(
  view: Pick<NodeView, "closedBecause">,
  clock: Clock,
  timeoutMs: number,
): Promise<void> {
  const untilNs = clock.monoNs() + BigInt(timeoutMs) * 1_000_000n;
  for (;;) {
    const because = await view.closedBecause();
    if (because.length === 0) return;
    if (clock.monoNs() > untilNs) throw new Error(`the node does not open: ${because.join(", ")}`);
    await pause(clock, LOOK_MS);
  }
}

const CAPTURE_WAITS_MAX_MS = 5_000;
/** How long a loop may take to listen to what is captured: as long as it may take to open its other doors. */
export const CAPTURE_TAKES_MAX_MS = 30_000;

/**
 * What is captured waits in the backlog of sockets that are not this process's own, and is not refused for that this
 * one has only begun. Whatever the node waits for may not come: then it says so to each by itself. Never rejects.
 *
 * @returns What cannot be taken in by one of the loops, and why; undefined: all is.
 */
export async function captureWhenReady(
  view: Pick<NodeView, "closedBecause">,
  clock: Clock,
  loops: readonly Pick<LoopLink, "no" | "post" | "onMessage">[],
): Promise<string | undefined> {
  await whenReady(view, clock, CAPTURE_WAITS_MAX_MS).catch(() => undefined);
  const faults = await Promise.all(loops.map((loop) => capture(loop, clock)));
  return faults.find((fault) => fault !== undefined);
}

/** The same. `unfit` resolves with why it cannot be taken in, and never where it can. */
export function capturing(...of: Parameters<typeof captureWhenReady>): {
  readonly tried: Promise<unknown>;
  readonly unfit: Promise<Error>;
} {
  const tried = captureWhenReady(...of);
  return { tried, unfit: unfitBy(tried) };
}

async function unfitBy(tried: Promise<string | undefined>): Promise<Error> {
  const fault = await tried;
  if (fault === undefined) return new Promise(() => undefined);
  return new Error(
    `what the kernel captures cannot be taken in (ALTRACE_TRANSPARENT_FDS): ${fault}`,
  );
}

/** One that does not answer takes nothing in, and a start that waited for it would neither serve nor end. */
function capture(
  loop: Pick<LoopLink, "no" | "post" | "onMessage">,
  clock: Clock,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const cancel = clock.after(CAPTURE_TAKES_MAX_MS, () =>
      resolve(`data loop ${loop.no} did not listen within ${CAPTURE_TAKES_MAX_MS} ms`),
    );
    loop.onMessage((message) => {
      if (message.t !== "captured") return;
      cancel();
      resolve(message.fault);
    });
    loop.post({ t: "capture" });
  });
}
