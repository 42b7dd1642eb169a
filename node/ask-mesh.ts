import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type NodeReply,
  NodeReplySchema,
  NodeRequestSchema,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import type { RequestMethod } from "../proto/subjects.ts";
import type { MeshAnswer } from "./mesh-status.ts";

/** Asks the control plane through the mesh thread; undefined when no answer came that counts. */
export type AskMesh = (
  method: RequestMethod,
  request: Uint8Array,
  timeoutMs: number,
) => Promise<MeshAnswer | undefined>;

/** Who asks, and by which way. */
export type MeshAsker = {
  readonly ask: AskMesh;
  readonly node: string;
  /** This start of the node, the same as in its heartbeats. */
  readonly bootId: string;
};

/** One question, by its method. */
type MeshQuestion = MessageInitShape<typeof NodeRequestSchema>["body"] & {
  readonly case: RequestMethod;
};

/**
 * Asks one question; undefined when no answer came that counts.
 *
 * @param requestId UUIDv7; the same one for a question that is asked again.
 * @throws Error The way to the mesh thread is closed, or what came back is no reply.
 */
export async function askMesh(
  { ask, node, bootId }: MeshAsker,
  of: { readonly requestId: string; readonly body: MeshQuestion; readonly timeoutMs: number },
): Promise<NodeReply["body"] | undefined> {
  const { requestId, body, timeoutMs } = of;
  const request = create(NodeRequestSchema, { node, bootId, requestId, body });
  const answer = await ask(body.case, toBinary(NodeRequestSchema, request), timeoutMs);
  return answer === undefined ? undefined : fromBinary(NodeReplySchema, answer.bytes).body;
}
