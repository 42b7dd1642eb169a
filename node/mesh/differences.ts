import { create, toBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../../mesh/record.ts";
import type { MeshState } from "../../mesh/state.ts";
import { SyncRequestSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { SignedRecordSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import type { Requests } from "./requests.ts";

const SYNC_TIMEOUT_MS = 2_000;
/** Pages of one comparison: a coordinator that never says it is done is not asked for ever. */
const PAGES_MAX = 10_000;
/** Records offered after one comparison. */
const OFFERS_MAX = 1_000;

export type DifferencesDeps = {
  readonly requests: Pick<Requests, "ask">;
  readonly state: MeshState;
  /** Merges a record; `undefined` when it does not count. */
  readonly told: (bytes: Uint8Array) => MeshRecord | undefined;
  /** Offers a record to the coordinators. */
  readonly heal: (record: MeshRecord) => void;
  readonly nextTurn: () => Promise<void>;
};

/**
 * Asks a coordinator for what it has in the buckets that differ, and offers it what it lacks there.
 *
 * It takes one question where few records differ, and needs no stream: a node that has just come back to a
 * mesh whose stream has no leader hears so of the kills that it missed. Whether anything is still missing
 * afterwards is for the digests to say.
 *
 * @returns False: nobody answered, or not to the end.
 */
export async function takeDifferences(deps: DifferencesDeps): Promise<boolean> {
  const { requests, state, told, nextTurn } = deps;
  const sums = state.buckets().toBytes();
  const theirs = new Map<string, string>();
  let buckets: readonly number[] = [];
  let afterScope = "";
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const value = create(SyncRequestSchema, { sums, afterScope });
    const result = await requests.ask({ case: "sync", value }, { timeoutMs: SYNC_TIMEOUT_MS });
    if ("fault" in result || result.reply.body.case !== "sync") return false;
    const { records, more } = result.reply.body.value;
    // Of the first page: between two of them the coordinator's state may have moved on.
    if (page === 0) buckets = result.reply.body.value.buckets;
    const before = afterScope;
    for (const signed of records) {
      const record = told(toBinary(SignedRecordSchema, signed));
      if (!record) continue;
      theirs.set(record.scope, record.hashHex);
      if (record.scope > afterScope) afterScope = record.scope;
      await nextTurn();
    }
    if (!more) {
      await offer(deps, buckets, theirs);
      return true;
    }
    // A page of nothing that counts would be the same page again.
    if (afterScope === before) return false;
  }
  return false;
}

/** What the coordinator has not, or not as new: nobody else may remember it. */
async function offer(
  { state, heal, nextTurn }: DifferencesDeps,
  buckets: readonly number[],
  theirs: ReadonlyMap<string, string>,
): Promise<void> {
  let offered = 0;
  for (const scope of state.buckets().scopesIn(buckets)) {
    const own = state.get(scope);
    if (!own || own.hashHex === theirs.get(scope)) continue;
    heal(own);
    offered += 1;
    if (offered >= OFFERS_MAX) return;
    if (offered % 16 === 0) await nextTurn();
  }
}
