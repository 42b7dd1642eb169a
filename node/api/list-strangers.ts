import { RpcError } from "../../adapters/grpc-error.ts";
import { type StrangerSighting, strangerKey } from "../stranger-sightings.ts";
import type { NodeView } from "./node-view.ts";

/** So that a page with the longest names still fits a message. */
const PAGE_SIZE_MAX = 100;
const TOKEN = /^(\d{1,16}) (\S.*)$/;

/** Strangers, the latest first; a page goes on behind the last of the one before. */
export function listStrangers(
  view: NodeView,
  { pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string },
) {
  const size = Math.min(pageSize === 0 ? PAGE_SIZE_MAX : pageSize, PAGE_SIZE_MAX);
  const { sightings, unlisted } = view.strangers();
  const sorted = sightings.toSorted((a, b) => order(placeOf(a), placeOf(b)));
  const after = pageToken === "" ? undefined : placeIn(pageToken);
  const rest =
    after === undefined ? sorted : sorted.filter((one) => order(placeOf(one), after) > 0);
  const page = rest.slice(0, size);
  const last = page.at(-1);
  return {
    strangers: page.map(strangerMessage),
    nextPageToken:
      last !== undefined && rest.length > size ? `${last.lastMs} ${strangerKey(last)}` : "",
    unlistedTries: BigInt(unlisted),
  };
}

type PageEnd = { readonly lastMs: number; readonly key: string };

function placeOf(one: StrangerSighting): PageEnd {
  return { lastMs: one.lastMs, key: strangerKey(one) };
}

function order(a: PageEnd, b: PageEnd): number {
  if (a.lastMs !== b.lastMs) return b.lastMs - a.lastMs;
  return a.key < b.key ? -1 : Number(a.key > b.key);
}

function placeIn(pageToken: string): PageEnd {
  const [, lastMs, key] = TOKEN.exec(pageToken) ?? [];
  if (lastMs !== undefined && key !== undefined) return { lastMs: Number(lastMs), key };
  throw new RpcError({
    code: "INVALID_ARGUMENT",
    reason: "malformed_page_token",
    message: "a page token is what the page before ended with",
    field: "page_token",
  });
}

function strangerMessage(one: StrangerSighting) {
  return {
    source: one.source,
    pod: one.pod ?? "",
    claimed: one.claimed ?? "",
    firstAtMs: BigInt(one.firstMs),
    lastAtMs: BigInt(one.lastMs),
    tries: BigInt(one.tries),
    doors: [...one.doors],
    hosts: [...one.hosts],
    models: [...one.models],
    reasons: [...one.reasons],
  };
}
