import { JOURNAL_LIMITS } from "../coordinator/journal-parts.ts";
import { LEASE_LIMITS } from "../coordinator/ledger-settings.ts";
import { DECODE_LIMITS } from "../node/dataplane/decode-limits.ts";
import { GATEWAY_LIMITS } from "../node/dataplane/gateway-limits.ts";
import { CONTINUATIONS_MAX, HTTP2_LIMITS } from "../node/dataplane/http2/http2-limits.ts";
import { ORIGIN_LIMITS } from "../node/dataplane/origin/origin-limits.ts";
import { RELAY_LIMITS } from "../node/dataplane/relay-limits.ts";
import { HELLO_BYTES_MAX, HELLO_RECORDS_MAX } from "../node/dataplane/tls/client-hello.ts";
import { HELLO_TIMEOUT_MS } from "../node/dataplane/tunnel/read-hello.ts";
import {
  AGENTS_MAX,
  BUNDLE_BYTES_MAX,
  CONTENT_RULES_MAX,
  LIMITS,
  MODELS_MAX,
  POLICY_TEXT_BYTES_MAX,
  TEAMS_MAX,
} from "../policy/defaults.ts";
import type { FindingCode } from "../policy/findings.ts";
import type { Reason } from "../proto/reasons.ts";
import { markdownTable } from "./markdown-table.ts";

/** What a limit bounds, what is said beyond it, and the test that shows it. */
export type LimitWords = {
  readonly what: string;
  /** Undefined: beyond it a connection is closed or made to wait, and nobody is refused. */
  readonly reason: Reason | FindingCode | undefined;
  /** Below `test/unit/`. */
  readonly test: string;
};

/** Limits that policy sets, by their names in its file. */
export const POLICY_LIMITS: Readonly<Record<keyof typeof LIMITS, LimitWords>> = {
  body_bytes_max: words("a request's body", "body_too_large", "node/plain-http"),
  body_timeout_ms: words("until a body is whole", "body_too_slow", "node/dataplane/gateway"),
  answer_bytes_max: words(
    "an answer that is one document",
    "response_too_large",
    "node/dataplane/relay-answer",
  ),
  json_depth_max: words("values within values", "json_too_deep", "node/dataplane/strict-json"),
  bodies_waiting_max: words(
    "bodies of one agent that arrive at once",
    "too_many_waiting",
    "node/plain-http",
  ),
  connections_per_agent_max: words(
    "requests and tunnels of one agent that are open, on one loop",
    "too_many_connections",
    "node/decision/chain",
  ),
  first_byte_timeout_ms: words(
    "until the head of an answer, or until a far side takes the connection",
    "upstream_timeout",
    "node/dataplane/forward",
  ),
  idle_timeout_ms: words(
    "between two pieces of an answer; of a tunnel `tunnel_idle`",
    "upstream_timeout",
    "node/dataplane/forward",
  ),
  total_timeout_ms: words(
    "until an answer is whole; of a tunnel `tunnel_expired`",
    "upstream_timeout",
    "node/dataplane/forward",
  ),
  scan_deadline_ms: words(
    "until a body has been looked through",
    "scan_timeout",
    "node/dataplane/inspect",
  ),
  reserve_wait_max_ms: words(
    "a wait for money from the ledger; for a share of the rate `rate_unavailable`",
    "budget_unavailable",
    "node/hold",
  ),
};

/** Limits of the client's side of every door. */
export const DOOR_LIMITS: Readonly<Record<keyof typeof GATEWAY_LIMITS, LimitWords>> = {
  headBytesMax: words("request line and headers", "head_too_large", "node/dataplane/gateway"),
  headersMax: words("header lines of one request", "head_too_large", "node/dataplane/head-rules"),
  headTimeoutMs: words("until a head is complete", "body_too_slow", "node/dataplane/gateway"),
  headSweepMs: words("by how much a slow head may be late", undefined, "node/dataplane/gateway"),
  keepAliveTimeoutMs: words("silence between requests", undefined, "node/dataplane/gateway-fuzz"),
  idleEvictableMs: words(
    "silence after which a connection may make room for another",
    undefined,
    "node/dataplane/gateway",
  ),
  waitingBytesMax: words(
    "a body or requests that come before they are asked for; the rest is not read",
    undefined,
    "node/dataplane/gateway",
  ),
  chunkExtensionBytesMax: words(
    "what stands beside the size of one chunk",
    "malformed_http",
    "node/dataplane/http1/request-reader",
  ),
  chunkExtensionsBytesMax: words(
    "the same of all chunks of one body",
    "malformed_http",
    "node/dataplane/http1/request-reader",
  ),
  trailerBytesMax: words(
    "headers behind the last chunk",
    "malformed_http",
    "node/dataplane/http1/request-reader",
  ),
  backlog: words("connections that the kernel holds", undefined, "node/captured"),
  captureBacklog: words("captured connections that the kernel holds", undefined, "node/captured"),
  lingerBytesMax: words(
    "request bytes that are discarded after a refusal",
    undefined,
    "node/dataplane/lingering-close",
  ),
  lingerTimeoutMs: words("how long they are", undefined, "node/dataplane/lingering-close"),
  lingerPerAgentMax: words(
    "connections of one agent that do so",
    undefined,
    "node/dataplane/lingering-close",
  ),
  lingerMax: words(
    "connections of one loop that do so",
    undefined,
    "node/dataplane/lingering-close",
  ),
  stalledReaderMs: words(
    "a client that takes nothing",
    undefined,
    "node/dataplane/client-exchange",
  ),
  slowReaderMs: words(
    "a client that takes little, from the end of its answer on",
    undefined,
    "node/dataplane/client-exchange",
  ),
  turnedAwayMax: words(
    "sockets that are told of a full door at once",
    "too_many_connections",
    "node/dataplane/gateway",
  ),
};

/** Limits of an answer on its way, and of what begins a tunnel. */
export const PASSAGE_LIMITS: Readonly<Record<keyof typeof PASSAGE_VALUES, LimitWords>> = {
  frameBytesMax: words(
    "one event of a stream",
    "response_unscannable",
    "node/dataplane/relay-limits",
  ),
  heldBytesMax: words(
    "events that wait for a match",
    "response_unscannable",
    "node/dataplane/relay-limits",
  ),
  channelsMax: words("texts side by side", "response_unscannable", "node/dataplane/relay-limits"),
  errorBytesMax: words(
    "a provider's error; of a longer one nothing is passed on",
    undefined,
    "node/dataplane/relay-limits",
  ),
  helloBytesMax: words("a ClientHello", "tls_malformed", "node/dataplane/tls/client-hello"),
  helloRecordsMax: words(
    "TLS records that it comes in",
    "tls_malformed",
    "node/dataplane/tls/client-hello",
  ),
  helloTimeoutMs: words("until it is whole", "hello_timeout", "node/dataplane/relay-limits"),
};

/** Limits of a compressed request, and of a compressed answer, which is `response_unscannable` beyond them. */
export const COMPRESSED_LIMITS: Readonly<Record<keyof typeof DECODE_LIMITS, LimitWords>> = {
  ratioMax: words(
    "what a body becomes, in times its own size",
    "decompression_ratio",
    "node/dataplane/decode-body",
  ),
  freeBytes: words(
    "what it may become whatever its size",
    "decompression_ratio",
    "node/dataplane/decode-body",
  ),
  zstdWindowBytesMax: words(
    "how far zstd may look back",
    "malformed_encoding",
    "node/dataplane/decode-body",
  ),
  stepBytes: words(
    "what of an answer is decompressed at once",
    undefined,
    "node/dataplane/decoded-relay",
  ),
};

/** Limits of one HTTP/2 connection, which is ended beyond them. */
export const HTTP2_WORDS: Readonly<Record<keyof typeof HTTP2_VALUES, LimitWords>> = {
  streamsMax: ofHttp2("requests under way at once"),
  resetsPerSecondMax: ofHttp2("requests that are given up before their answer has ended, a second"),
  controlFramesPerSecondMax: ofHttp2("PING and SETTINGS frames, a second"),
  headerListBytesMax: ofHttp2("a head that is read; of a larger one the stream is reset", "reset"),
  headerPairsMax: ofHttp2("headers that are read; of more of them the stream is reset", "reset"),
  invalidFramesMax: ofHttp2(
    "frames that mean nothing where they stand, and requests beyond `streamsMax` of a client that does not know of it",
  ),
  continuationsMax: ofHttp2("CONTINUATION frames of one head"),
};

/** Of what a provider's connection makes us read beside its answer's body. */
export const ORIGIN_WORDS: Readonly<Record<keyof typeof ORIGIN_LIMITS, LimitWords>> = {
  headBytesMax: words(
    "status line and headers of an answer, with those between that are not the answer yet",
    "upstream_failed",
    "node/dataplane/origin/answer-reader",
  ),
  headersMax: words(
    "header lines of an answer",
    "upstream_failed",
    "node/dataplane/origin/answer-reader",
  ),
  interimHeadsMax: words(
    "heads with a status below 200 before it",
    "upstream_failed",
    "node/dataplane/origin/answer-reader",
  ),
  chunkExtensionBytesMax: words(
    "what stands behind the size of a chunk",
    "upstream_failed",
    "node/dataplane/origin/answer-reader",
  ),
  trailerBytesMax: words(
    "headers behind the last chunk; they are dropped",
    "upstream_failed",
    "node/dataplane/origin/answer-reader",
  ),
};

/** Sizes of a policy; who reads a file or a bundle beyond one says `too_large`, and nothing of it is in force. */
export const SIZE_LIMITS: Readonly<Record<keyof typeof SIZE_VALUES, LimitWords>> = {
  policyTextBytesMax: words("its file", "too_large", "policy/policy-sizes"),
  bundleBytesMax: words("what is made of it, for the mesh to carry", "too_large", "policy/bundle"),
  agentsMax: words("its agents, of all teams", "too_large", "policy/policy-sizes"),
  teamsMax: words("its teams", "too_large", "policy/policy-sizes"),
  modelsMax: words("its models", "too_large", "policy/policy-sizes"),
  contentRulesMax: words("its content rules", "too_large", "policy/policy-sizes"),
};

/** Of what a coordinator's ledger keeps. */
export const LEDGER_LIMITS: Readonly<Record<keyof typeof LEDGER_VALUES, LimitWords>> = {
  leasesRemembered: words(
    "leases beyond which one that is settled is forgotten after a minute, and not after an hour",
    undefined,
    "coordinator/ledger",
  ),
  unsettledMax: words(
    "leases that ran out unsettled; beyond it the oldest count as spent (`leases_written_off`)",
    undefined,
    "coordinator/lease-ends",
  ),
  leasesMax: words("leases of all kinds", "budget_unavailable", "coordinator/ledger"),
  journalBytesMax: words(
    "bytes of the ledger in a mesh of several coordinators, all kinds of entries; some 110,000 agents with a lease",
    "budget_unavailable",
    "coordinator/ledger-actor",
  ),
};

const LEDGER_VALUES = { ...LEASE_LIMITS, ...JOURNAL_LIMITS };

const SIZE_VALUES = {
  policyTextBytesMax: POLICY_TEXT_BYTES_MAX,
  bundleBytesMax: BUNDLE_BYTES_MAX,
  agentsMax: AGENTS_MAX,
  teamsMax: TEAMS_MAX,
  modelsMax: MODELS_MAX,
  contentRulesMax: CONTENT_RULES_MAX,
};

const PASSAGE_VALUES = {
  ...RELAY_LIMITS,
  helloBytesMax: HELLO_BYTES_MAX,
  helloRecordsMax: HELLO_RECORDS_MAX,
  helloTimeoutMs: HELLO_TIMEOUT_MS,
};

/** Two are left out that stand behind the others, and that no client comes to before them. */
const { unreadMax: _, stateMbMax: __, ...HTTP2_BOUNDS } = HTTP2_LIMITS;
const HTTP2_VALUES = { ...HTTP2_BOUNDS, continuationsMax: CONTINUATIONS_MAX };

const HEAD = `# Limits

What bounds a request, an answer, a tunnel and what a ledger keeps: each limit with its value, and the reason that is given beyond it. The
unit is in the name. Where there is no reason, nobody is refused: a connection is closed or made to wait, or what the line says.

Requests may be compressed (gzip, br, zstd): they are decompressed in the inspect pool, within the bounds below and \`body_bytes_max\`,
judged, and sent on uncompressed. Providers are asked not to compress. An answer that is compressed all the same is decompressed as it
comes, in steps on libuv's pool and within the same ratio and window (\`response_unscannable\`), judged, and sent on uncompressed. Plain HTTP
and tunnels are passed on as they are.

Descriptors: a loop takes as many connections as two descriptors for each leave of the process's limit (\`ulimit -n\`), less 256 for logs,
LMDB and the bus. Beyond that the connection that has been idle for longest makes room, or the new one is refused
(\`too_many_connections\`). A node that could take less than 64 does not start.

This page is made from the code by \`npm run docs\`.
`;

/** The page of limits, from the tables that hold them. */
export function limitsPage(): string {
  const ofPolicy = Object.entries(LIMITS).map(([name, { default: value, min, max }]) =>
    rowOf(name, `${value} (${min} to ${max})`, POLICY_LIMITS[name as keyof typeof LIMITS]),
  );
  return [
    HEAD,
    section("Of policy (`limits` in its file)", ofPolicy),
    section("Of a policy's size (`policy check` says so)", rowsOf(SIZE_VALUES, SIZE_LIMITS)),
    section("Of every door", rowsOf(GATEWAY_LIMITS, DOOR_LIMITS)),
    section("Of one HTTP/2 connection", rowsOf(HTTP2_VALUES, HTTP2_WORDS)),
    section("Of what is compressed", rowsOf(DECODE_LIMITS, COMPRESSED_LIMITS)),
    section("Of answers and tunnels", rowsOf(PASSAGE_VALUES, PASSAGE_LIMITS)),
    section("Of a provider's connection", rowsOf(ORIGIN_LIMITS, ORIGIN_WORDS)),
    section("Of a coordinator's ledger", rowsOf(LEDGER_VALUES, LEDGER_LIMITS)),
  ].join("\n");
}

const COLUMNS = ["limit", "value", "what it bounds", "reason", "shown by `test/unit/`"];

function rowsOf<Name extends string>(
  values: Readonly<Record<Name, number>>,
  all: Readonly<Record<Name, LimitWords>>,
): readonly (readonly string[])[] {
  const names = Object.keys(values) as Name[];
  return names.map((name) => rowOf(name, String(values[name]), all[name]));
}

function rowOf(name: string, value: string, { what, reason, test }: LimitWords): readonly string[] {
  return [`\`${name}\``, value, what, reason === undefined ? "-" : `\`${reason}\``, test];
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  return [`## ${title}`, "", ...markdownTable([COLUMNS, ...rows]), ""].join("\n");
}

/** `reset`: it is the stream that ends, and not the connection. */
function ofHttp2(what: string, ends: "connection" | "reset" = "connection"): LimitWords {
  const reason = ends === "reset" ? undefined : "http2_flood";
  return words(what, reason, "node/dataplane/http2/http2-connection");
}

function words(what: string, reason: LimitWords["reason"], test: string): LimitWords {
  return { what, reason, test };
}
