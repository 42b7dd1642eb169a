import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { EncodedMessage } from "../../adapters/grpc-encoded-message.ts";
import {
  AgentStateSchema,
  ListAgentsResponseSchema,
  WatchAgentsResponseSchema,
} from "../../proto/gen/altrace/v1/node_service_pb.ts";
import type { AgentOpen } from "../thread-messages.ts";
import { agentMessage } from "./agent-message.ts";
import type { NodeView } from "./node-view.ts";

/** An agent's message, while nobody has said that it shows something else. */
type Encoded = { readonly bytes: Uint8Array; readonly untilMs: number };

/** Encodings of agents that may be gone, before somebody looks which are. */
const STALE_MAX = 1_024;
/** What was taken of a balance and given back as it was is told by nobody, so all are made anew so often. */
export const ENCODING_LASTS_MS = 10_000;

/**
 * The messages that show agents, each encoded once for what it shows.
 *
 * Of ten thousand agents that somebody lists twice a second nearly all are as they were, and this is the
 * thread that lends them money: even to look at each whether it has changed costs more than to lend to those
 * that have. So whoever changes says so.
 */
export class AgentEncodings {
  readonly #view: NodeView;
  readonly #known = new Map<string, Encoded>();
  /** Scopes that were killed when they were made. */
  #killed: ReadonlySet<string> = new Set();
  /** With so many of them it is looked which are of agents that are gone. */
  #lookAt = STALE_MAX;

  constructor(view: NodeView) {
    this.#view = view;
    view.followActors((agentId) => this.#known.delete(agentId));
  }

  /** An `AgentState`. As long as the agent shows the same, mostly the very same bytes. */
  of(agentId: string, open: AgentOpen | undefined): Uint8Array {
    const view = this.#view;
    this.#noteKilled();
    // What is open changes without anybody's word.
    if (open !== undefined) return encode(agentId, view, open);
    const known = this.#known.get(agentId);
    const nowMs = view.nowMs();
    if (known !== undefined && nowMs < known.untilMs) return known.bytes;
    const bytes = encode(agentId, view, open);
    // And so does a score, which decays.
    if ((view.actor(agentId)?.state.ladder.scores.length ?? 0) > 0) return bytes;
    this.#forgetStale();
    const isSame = known !== undefined && Buffer.compare(known.bytes, bytes) === 0;
    const kept = { bytes: isSame ? known.bytes : bytes, untilMs: nowMs + ENCODING_LASTS_MS };
    this.#known.set(agentId, kept);
    return kept.bytes;
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

  /** Whoever is killed, it is another set from then on. */
  #noteKilled(): void {
    const [before, killed] = [this.#killed, this.#view.killed()];
    if (before === killed) return;
    this.#killed = killed;
    for (const scope of before) if (!killed.has(scope)) this.#forgetUnder(scope);
    for (const scope of killed) if (!before.has(scope)) this.#forgetUnder(scope);
  }

  #forgetUnder(scope: string): void {
    if (scope === "global") this.#known.clear();
    else if (scope.startsWith("agent/")) this.#known.delete(scope.slice("agent/".length));
    else if (scope.startsWith("team/")) {
      const team = `${scope.slice("team/".length)}/`;
      for (const id of this.#known.keys()) if (id.startsWith(team)) this.#known.delete(id);
    }
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
