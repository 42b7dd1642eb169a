import { Client, type Dispatcher } from "undici";
import type { DialAddress } from "../decision/facts.ts";
import { pinnedLookup } from "./tunnel/pinned-lookup.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const HEAD_BYTES_MAX = 32 * 1024;

/**
 * A connection for one request to the addresses that were judged for it. It is never used again: a
 * later request is judged by what the name resolves to then. To be destroyed when the request is over.
 */
export function pinnedUpstream(origin: string, addresses: readonly DialAddress[]): Dispatcher {
  return new Client(origin, {
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: HEAD_BYTES_MAX,
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      lookup: pinnedLookup(addresses),
      autoSelectFamily: true,
    },
  });
}
