import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EncodedMessage } from "../../adapters/grpc-encoded-message.ts";
import type { Clock } from "../../ports/clock.ts";
import type { WatchAgentsResponseSchema } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { type AgentEncodings, watchedAgent } from "./agent-encodings.ts";
import type { NodeView } from "./node-view.ts";

/** How often a watcher is told what changed. */
const WATCH_EVERY_MS = 500;
/** Agents that are looked at in one turn: whoever waits for money on this thread comes in between. */
const AGENTS_PER_TURN = 200;

/**
 * Sends every agent once, that all are told of, then each whose state differs from what was sent last, until the
 * call ends.
 */
export async function* watchAgents(
  of: { readonly view: NodeView; readonly encodings: AgentEncodings; readonly clock: Clock },
  { idsNow, signal }: { readonly idsNow: () => readonly string[]; readonly signal: AbortSignal },
): AsyncGenerator<MessageInitShape<typeof WatchAgentsResponseSchema> | EncodedMessage> {
  const { view, encodings, clock } = of;
  const sent = new Map<string, Uint8Array>();
  let isFirstLook = true;
  while (!signal.aborted) {
    const open = await view.openByAgent();
    const ids = idsNow();
    for (const [index, id] of ids.entries()) {
      if (index % AGENTS_PER_TURN === AGENTS_PER_TURN - 1) await passed(clock, 0, signal);
      if (signal.aborted) return;
      const agent = encodings.of(id, open.get(id));
      const before = sent.get(id);
      if (before === agent) continue;
      sent.set(id, agent);
      if (before === undefined || Buffer.compare(before, agent) !== 0) yield watchedAgent(agent);
    }
    const present = new Set(ids);
    for (const id of sent.keys()) {
      if (present.has(id)) continue;
      sent.delete(id);
      yield { agent: { agent: id }, gone: true };
    }
    if (isFirstLook) yield { allTold: true };
    isFirstLook = false;
    await passed(clock, WATCH_EVERY_MS, signal);
  }
}

/** Resolves after `ms`, or when the call ends. Leaves nothing behind: a watch may last for weeks. */
function passed(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.after(ms, end);
    signal.addEventListener("abort", end);
  });
}
