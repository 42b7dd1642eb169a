import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { EncodedMessage } from "../../adapters/grpc-encoded-message.ts";
import {
  AgentStateSchema,
  ListAgentsResponseSchema,
  WatchAgentsResponseSchema,
} from "../../proto/gen/altrace/v1/node_service_pb.ts";
import type { ActorView } from "../actors/seat.ts";
import type { AgentOpen } from "../thread-messages.ts";
import { agentMessage, killsOf } from "./agent-message.ts";
import type { NodeView } from "./node-view.ts";

/** What an agent's message was made of, and the message. */
type Encoded = {
  readonly actor: ActorView | undefined;
  /** All scopes that were killed, and which of them cover the agent. */
  killed: ReadonlySet<string>;
  readonly killedBy: readonly string[];
  readonly bytes: Uint8Array;
};

/** Encodings of agents that may be gone, before somebody looks which are. */
const STALE_MAX = 1_024;

/**
 * The messages that show agents, each encoded once for what it shows.
 *
 * Of ten thousand agents that somebody lists twice a second nearly all are as they were, and this is the
 * thread that lends them money: to tell that one has not changed costs a tenth of encoding it.
 */
export class AgentEncodings {
  readonly #view: NodeView;
  readonly #known = new Map<string, Encoded>();
  /** With so many of them it is looked which are of agents that are gone. */
  #lookAt = STALE_MAX;

  constructor(view: NodeView) {
    this.#view = view;
  }

  /** An `AgentState`. As long as the agent shows the same, mostly the very same bytes. */
  of(agentId: string, open: AgentOpen | undefined): Uint8Array {
    const view = this.#view;
    const actor = view.actor(agentId);
    // What is open, and a score that decays, change without anybody's word.
    if (open !== undefined || (actor?.state.ladder.scores.length ?? 0) > 0) {
      return encode(agentId, view, open);
    }
    const killed = view.killed();
    const known = this.#known.get(agentId);
    if (known !== undefined && showsSame(known.actor, actor)) {
      // Whoever is killed, it is another set from then on.
      if (known.killed === killed) return known.bytes;
      known.killed = killed;
      if (areEqual(known.killedBy, killsOf(agentId, view))) return known.bytes;
    }
    const bytes = encode(agentId, view, open);
    this.#forgetStale();
    this.#known.set(agentId, { actor, killed, killedBy: killsOf(agentId, view), bytes });
    return bytes;
  }

  /** A `ListAgentsResponse`. */
  page(
    agentIds: readonly string[],
    open: ReadonlyMap<string, AgentOpen>,
    nextPageToken: string,
  ): EncodedMessage {
    const { agents, nextPageToken: next } = ListAgentsResponseSchema.field;
    const writer = new BinaryWriter();
    for (const id of agentIds) {
      writer.tag(agents.number, WireType.LengthDelimited).bytes(this.of(id, open.get(id)));
    }
    if (nextPageToken !== "") {
      writer.tag(next.number, WireType.LengthDelimited).string(nextPageToken);
    }
    return new EncodedMessage(writer.finish());
  }

  #forgetStale(): void {
    if (this.#known.size < this.#lookAt) return;
    const present = new Set(this.#view.agentIds());
    for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
    // Rarely, since to name all agents costs more than to encode one.
    this.#lookAt = 2 * this.#known.size + STALE_MAX;
  }
}

/** A `WatchAgentsResponse` about an agent that there is. */
export function watchedAgent(agent: Uint8Array): EncodedMessage {
  const { number } = WatchAgentsResponseSchema.field.agent;
  const writer = new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(agent);
  return new EncodedMessage(writer.finish());
}

function encode(agentId: string, view: NodeView, open: AgentOpen | undefined): Uint8Array {
  const message = create(AgentStateSchema, agentMessage(agentId, view, open));
  return toBinary(AgentStateSchema, message);
}

/** An actor's state is never mutated, so the same object says the same. */
function showsSame(one: ActorView | undefined, other: ActorView | undefined): boolean {
  if (one?.state !== other?.state) return false;
  const [before, now] = [one?.balance, other?.balance];
  return (
    before?.usdMicros === now?.usdMicros &&
    before?.tokens === now?.tokens &&
    before?.calls === now?.calls
  );
}

function areEqual(before: readonly string[], now: readonly string[]): boolean {
  return before.length === now.length && before.every((scope, i) => scope === now[i]);
}
