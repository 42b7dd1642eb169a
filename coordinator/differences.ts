import { create } from "@bufbuild/protobuf";
import type { MeshRecord } from "../mesh/record.ts";
import type { MeshState } from "../mesh/state.ts";
import { SyncReplySchema, type SyncRequest } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { type ReplyBody, refusedBody } from "./node-requests.ts";
import { recordsPage, STATE_PAGE_COUNT } from "./records-page.ts";

/** Beyond so many buckets the state's own order serves better than one made for this answer. */
const SORTED_BUCKETS_MAX = 64;

/**
 * What this coordinator has in the buckets in which a node has something else: one page of it.
 *
 * @param isTold As for every page.
 */
export function differences(
  state: MeshState,
  { sums, afterScope }: SyncRequest,
  isTold: (record: MeshRecord) => boolean,
): ReplyBody {
  const buckets = state.buckets().differing(sums);
  if (buckets === undefined) return refusedBody("malformed_request", "sums");
  const page = recordsPage(recordsOf(state, buckets, afterScope), isTold);
  const value = create(SyncReplySchema, { buckets: [...buckets], ...page });
  return { case: "sync", value };
}

/** Where most buckets differ, as for a node with an empty disk, all records are handed over in turn. */
function recordsOf(
  state: MeshState,
  buckets: readonly number[],
  afterScope: string,
): readonly MeshRecord[] {
  if (buckets.length > SORTED_BUCKETS_MAX) return state.recordsAfter(afterScope, STATE_PAGE_COUNT);
  const scopes = state.buckets().scopesIn(buckets);
  const left = scopes.filter((scope) => scope > afterScope).sort();
  return left.slice(0, STATE_PAGE_COUNT).map((scope) => state.get(scope) as MeshRecord);
}
