import { create, toBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../../mesh/record.ts";
import { StateRequestSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { SignedRecordSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import type { Requests } from "./requests.ts";

const PAGE_TIMEOUT_MS = 3_000;
/** Pages of one reading: a coordinator that never says it is done is not asked for ever. */
const PAGES_MAX = 10_000;

/**
 * Asks a coordinator for its whole state, page by page: what no stream holds any more.
 *
 * @param told Merges a record; `undefined` when it does not count.
 * @returns False: not everything was handed over.
 */
export async function takePages(
  requests: Pick<Requests, "ask">,
  told: (bytes: Uint8Array) => MeshRecord | undefined,
  nextTurn: () => Promise<void>,
): Promise<boolean> {
  let afterScope = "";
  for (let page = 0; page < PAGES_MAX; page++) {
    const value = create(StateRequestSchema, { afterScope });
    const result = await requests.ask({ case: "state", value }, { timeoutMs: PAGE_TIMEOUT_MS });
    if ("fault" in result || result.reply.body.case !== "state") return false;
    const { records, more } = result.reply.body.value;
    const before = afterScope;
    for (const signed of records) {
      const record = told(toBinary(SignedRecordSchema, signed));
      if (record && record.scope > afterScope) afterScope = record.scope;
      await nextTurn();
    }
    if (!more) return true;
    // A page of nothing that counts would be the same page again.
    if (afterScope === before) return false;
  }
  return false;
}
