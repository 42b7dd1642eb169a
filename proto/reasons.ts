/**
 * Why a request was refused: one registry, ordered by stage.
 *
 * Names and numbers are on the wire and in audit logs for as long as logs are kept. A number is
 * `stage * 100 + n`; a new reason takes the next free `n` of its stage; a reason that is no longer
 * given keeps its row. Never renumber, never reuse.
 */

/** What a caller's SDK may do with the refusal by itself. */
export type RetryClass =
  /** The same request will be refused again. */
  | "never"
  /** It may succeed after the time the answer names. */
  | "later";

export type ReasonEntry = {
  readonly no: number;
  /** HTTP status of the answer when the response has not begun. */
  readonly status:
    | 400
    | 401
    | 402
    | 403
    | 404
    | 405
    | 408
    | 413
    | 415
    | 421
    | 429
    | 431
    | 502
    | 503
    | 504;
  readonly retry: RetryClass;
  /** For whoever runs the node. */
  readonly operator: string;
  /** For whoever wrote the agent; sent in the answer. */
  readonly developer: string;
};

const row = (
  no: number,
  status: ReasonEntry["status"],
  retry: RetryClass,
  operator: string,
  developer: string,
): ReasonEntry => ({ no, status, retry, operator, developer });

// biome-ignore format: a table is read by its columns, one reason a line.
export const REASONS = {
  // 1 request
  malformed_http: row(101, 400, "never", "The HTTP message could not be parsed.", "The request is not well-formed HTTP."),
  head_too_large: row(102, 431, "never", "The request head is over head_bytes_max.", "The request's headers are too large."),
  route_unknown: row(103, 404, "never", "No dialect serves this path.", "This gateway does not serve that path."),
  method_not_allowed: row(104, 405, "never", "The path exists, the method does not.", "This path does not accept that method."),
  content_type_unsupported: row(105, 415, "never", "The body is not JSON.", "Send application/json."),
  content_encoding_unsupported: row(106, 415, "never", "The body is compressed in a way that is not read here.", "Send the body with content-encoding gzip, br or zstd, or without."),
  body_too_large: row(107, 413, "never", "The body is over body_bytes_max.", "The request body is too large."),
  body_too_slow: row(108, 408, "later", "The body did not arrive within body_timeout_ms.", "The request body arrived too slowly."),
  malformed_json: row(109, 400, "never", "The body is not JSON.", "The request body is not valid JSON."),
  invalid_utf8: row(110, 400, "never", "The body is not UTF-8, or holds a lone surrogate.", "The request body is not valid UTF-8."),
  duplicate_key: row(111, 400, "never", "An object names a member twice, so two readers could judge two requests.", "The request body names a JSON member twice."),
  json_too_deep: row(112, 400, "never", "The body nests deeper than json_depth_max.", "The request body is nested too deeply."),
  malformed_request: row(113, 400, "never", "The body is JSON but not a request of its dialect.", "The request body does not have the shape this endpoint expects."),
  unpriced_parameter: row(114, 400, "never", "A parameter's cost or effect is not known here.", "The request uses a parameter this gateway cannot account for."),
  client_gone: row(115, 400, "never", "The client closed the connection before the request was complete.", "The connection was closed before the request was complete."),
  stage_failed: row(116, 503, "later", "A stage of the chain threw, or what relays an answer; a bug of ours.", "The gateway failed to decide, or to relay the answer."),
  too_many_waiting: row(117, 429, "later", "The agent has bodies_waiting_max requests whose bodies are still arriving.", "Too many of this agent's requests are being read at once."),
  draining: row(118, 503, "later", "The node is shutting down.", "The gateway is shutting down."),
  tls_required: row(119, 400, "never", "What came through a tunnel, or was captured, does not begin as TLS.", "Only TLS is carried here."),
  tls_malformed: row(120, 400, "never", "The TLS ClientHello could not be parsed, or two readers could read it in two ways.", "The TLS handshake could not be read."),
  server_name_missing: row(121, 400, "never", "The ClientHello names no server, so where it goes cannot be checked.", "The TLS handshake must name its server (SNI)."),
  server_name_mismatch: row(122, 400, "never", "CONNECT target and server name differ.", "The TLS handshake names another server than the CONNECT request."),
  encrypted_hello: row(123, 400, "never", "The ClientHello is encrypted (ECH), so where it goes cannot be seen.", "Encrypted ClientHello is not carried here; turn it off."),
  hello_timeout: row(124, 408, "later", "No whole ClientHello within hello_timeout_ms.", "The TLS handshake did not begin in time."),
  upgrade_refused: row(125, 403, "never", "The request asks for another protocol where none is served, or for a WebSocket on a path that has no sessions.", "No other protocol is served here."),
  misdirected_request: row(126, 421, "never", "Host is not the server name of the TLS connection.", "This connection is for another host than the request names."),
  session_unknown: row(127, 404, "never", "An MCP session id that this node did not give to this agent for this server.", "No such session; begin a new one."),
  decompression_ratio: row(128, 413, "never", "The compressed body becomes more than ratioMax times its size.", "The compressed request body grows too much; send it without content-encoding."),
  malformed_encoding: row(129, 400, "never", "The body is not what its content-encoding says, or something follows the compressed data.", "The request body is not what its content-encoding says."),
  batch_unsupported: row(130, 400, "never", "A JSON-RPC batch, which MCP has given up: of its answers no one could be told for one of its messages.", "Send JSON-RPC messages one by one; batches are not taken."),
  http2_flood: row(131, 400, "never", "An HTTP/2 connection went over a bound of its own, which the detail names, and was ended.", "The HTTP/2 connection was ended for what it sent: too many requests given up, or frames without use."),
  // 2 identity
  credential_missing: row(201, 401, "never", "No credential.", "Send your Altrace key as the API key."),
  credential_malformed: row(202, 401, "never", "The credential is not a virtual key.", "The API key is not an Altrace key."),
  foreign_credential: row(203, 401, "never", "A credential that is not ours, such as a provider's own key.", "Only Altrace keys are accepted here, not provider keys."),
  key_unknown: row(204, 401, "never", "No such key, or its secret is wrong.", "The Altrace key is not known."),
  key_expired: row(205, 401, "never", "The key is outside its validity.", "The Altrace key is not valid at this time."),
  key_revoked: row(206, 401, "never", "The key was removed.", "The Altrace key was revoked."),
  credentials_conflict: row(207, 401, "never", "Two credentials that differ in one request.", "Send one credential, not two."),
  table_full: row(208, 503, "later", "Every row of the table is in use; raise table_rows.", "The gateway cannot take another agent now."),
  identity_unavailable: row(209, 503, "later", "The mesh thread did not answer in time.", "The gateway cannot check the key now."),
  lookups_exhausted: row(210, 429, "later", "Too many unknown keys from one source.", "Too many unknown keys were tried from this address."),
  source_unknown: row(211, 403, "never", "No agent is placed at the source address of a captured connection, or it has no key of its own.", "This address belongs to no known agent."),
  proof_missing: row(212, 401, "never", "The contract is held by its agent's own key, and the request proves no possession of it.", "Send a DPoP proof with this contract."),
  proof_malformed: row(213, 401, "never", "The proof of possession is not a strict DPoP proof with exactly htm, htu, iat, jti, ath and nonce.", "The DPoP proof is not well-formed."),
  proof_algorithm: row(214, 401, "never", "The proof is signed with another algorithm than Ed25519.", "DPoP proofs are signed with Ed25519 here."),
  proof_key: row(215, 401, "never", "The proof is by another key than the contract is held by.", "The DPoP proof is not by the contract's key."),
  proof_signature: row(216, 401, "never", "The signature of a proof is not its key's.", "The DPoP proof's signature is not valid."),
  proof_request: row(217, 401, "never", "The proof is for another method, host or path.", "The DPoP proof is for another request."),
  proof_time: row(218, 401, "never", "The proof was made more than 30 s from now.", "The DPoP proof is too old, or not yet valid."),
  proof_token: row(219, 401, "never", "The proof's ath is not the hash of the token beside it.", "The DPoP proof belongs to another token."),
  proof_replayed: row(220, 401, "never", "The proof was spent before.", "A DPoP proof can be used once."),
  proof_store_full: row(221, 503, "later", "No room to remember another spent proof.", "The gateway cannot take another DPoP proof now."),
  proof_door: row(222, 401, "never", "A proof of possession came on another door than the gateway.", "DPoP proofs are taken at the gateway's own address alone."),
  proof_nonce: row(223, 401, "never", "The proof bears no nonce, or one that this node does not take now.", "Repeat this with the nonce in dpop-nonce."),
  proofs_exhausted: row(224, 429, "later", "The contract has spent as many proofs as it may make requests in half a minute.", "Too many DPoP proofs were sent for this contract."),
  captured_self: row(225, 403, "never", "A captured connection is one that the node itself opened, or was made to its capturing listener.", "This connection is the gateway's own."),
  // 3 kill
  killed_global: row(301, 403, "never", "The whole mesh is killed.", "All agents have been stopped by an operator."),
  killed_team: row(302, 403, "never", "The agent's team is killed.", "This agent's team has been stopped by an operator."),
  killed_agent: row(303, 403, "never", "The agent is killed.", "This agent has been stopped by an operator."),
  killed_contract: row(304, 403, "never", "The contract, or one it derives from, is revoked.", "The authority behind this key was revoked."),
  mesh_stale: row(305, 503, "later", "This node cannot know the kill state: no entitling digest came in time, or a kill that came could not be read in time.", "The gateway is not connected to its control plane."),
  // 4 standing
  blocked: row(401, 403, "never", "The agent stands at block.", "This agent is blocked by enforcement."),
  quarantined: row(402, 403, "never", "The agent is in quarantine and the request is outside the quarantine profile.", "This agent is in quarantine; only a restricted set of requests is allowed."),
  // 5 contract
  no_grant: row(501, 403, "never", "Policy grants this agent nothing.", "No authority has been granted to this agent."),
  contract_unsupported: row(502, 403, "never", "The key is bound to a contract and this node does not verify contracts.", "This key's contract cannot be verified here."),
  policy_missing: row(503, 503, "later", "The node has no policy yet.", "The gateway has no policy yet."),
  contract_too_large: row(504, 403, "never", "A token, chain, list or nesting of a contract is over its limit.", "The contract is too large."),
  contract_malformed: row(505, 403, "never", "A token is not a compact JWS in its one spelling.", "The contract is not well-formed."),
  contract_algorithm: row(506, 403, "never", "A contract is signed with another algorithm than Ed25519, or with none.", "The contract's signature algorithm is not supported."),
  contract_type: row(507, 403, "never", "A token of another type was presented as a contract.", "The token is not a contract."),
  contract_header: row(508, 403, "never", "A contract's header has members that it may not have.", "The contract's header is not acceptable."),
  contract_order: row(509, 403, "never", "The links of a contract's chain are not root first.", "The contract's chain is not in order."),
  contract_untrusted: row(510, 403, "never", "The root of a contract is signed by nobody who is trusted now.", "The contract was issued by nobody this mesh trusts."),
  contract_signature: row(511, 403, "never", "The signature of a contract is not its delegator's.", "The contract's signature is not valid."),
  contract_not_canonical: row(512, 403, "never", "A contract's payload is not canonical JSON.", "The contract's payload is not canonical JSON."),
  contract_claims: row(513, 403, "never", "A contract's payload has a member missing, unknown or out of bounds.", "The contract's claims are not acceptable."),
  contract_not_normal: row(514, 403, "never", "A list of a contract is not in its normal form.", "A list in the contract is not sorted and minimal."),
  contract_holder_key: row(515, 403, "never", "The key that a contract is held by may hold none.", "The contract's holder key is not acceptable."),
  contract_issuer: row(516, 403, "never", "A contract names another issuer than signed it.", "The contract's issuer is not who signed it."),
  contract_mesh: row(517, 403, "never", "A contract was made for another mesh.", "The contract is for another installation."),
  contract_parent: row(518, 403, "never", "A contract was delegated from another one than it is presented under.", "The contract does not belong to this chain."),
  contract_depth: row(519, 403, "never", "A contract is deeper than its chain allows.", "The contract is delegated too deeply."),
  contract_subject: row(520, 403, "never", "A contract changes on whose behalf it is.", "The contract changes its subject."),
  contract_dates: row(521, 403, "never", "A contract's dates are not those that its chain and the clock allow.", "The contract's dates are not acceptable."),
  contract_expired: row(522, 403, "never", "The contract, or one it derives from, has expired.", "The contract has expired."),
  contract_widens: row(523, 403, "never", "A contract grants what its delegator did not have; the detail names the dimension.", "The contract grants more than its delegator has."),
  contract_not_narrower: row(524, 403, "never", "A contract grants as much as its delegator has.", "A delegated contract must grant strictly less."),
  contract_unknown: row(525, 403, "never", "The coordinator knows no contract of that id or key.", "The contract is not known."),
  contract_elsewhere: row(526, 403, "never", "The contract is held by another node's key.", "This contract is served by another gateway."),
  contract_source: row(527, 403, "never", "The contract's key came from another address than it is bound to.", "This key does not count from this address."),
  contract_unavailable: row(528, 503, "later", "The contract could not be asked for in time.", "The contract could not be checked now."),
  delegation_without_contract: row(529, 403, "never", "The delegator's key is bound to no contract.", "Only a key that was born with a contract can delegate."),
  delegation_widens: row(530, 403, "never", "The delegation asks for more than the delegator has; the detail names the dimension.", "The delegation asks for more than you hold."),
  delegation_not_narrower: row(531, 403, "never", "The delegation asks for as much as the delegator has.", "A delegation must ask for strictly less than you hold."),
  delegation_too_deep: row(532, 403, "never", "The contract may be delegated no further.", "This contract may not be delegated further."),
  delegation_fan_out: row(533, 403, "never", "The contract has as many open delegations as it may have.", "Too many delegations are open."),
  delegation_holder: row(534, 403, "never", "The delegation names a holder or a node that is not known.", "The named holder or node is not known here."),
  contract_unfunded: row(535, 403, "never", "No contract of that id has an account: nobody moved its money out of its delegator's.", "This contract is not funded: its delegator sends it to the delegations endpoint."),
  delegation_own_key: row(536, 403, "never", "The contract is held by its agent's own key, which no node can sign with.", "This contract is held by your own key: sign the delegation yourself."),
  contract_team: row(537, 403, "never", "A contract is held by an agent of another team than what it was delegated from.", "The contract was delegated to another team."),
  // 6 time
  outside_hours: row(601, 403, "never", "Outside the granted hours of the week.", "This agent may not work at this time."),
  // 7 geography
  region_not_granted: row(701, 403, "never", "The destination's region is not granted, or not known.", "Data may not go to that region."),
  source_region_not_granted: row(702, 403, "never", "This node's region is not granted to the agent.", "This agent may not work from here."),
  agent_not_placed: row(703, 403, "never", "Policy does not place the agent on this node.", "This agent may not work through this gateway."),
  // 8 destination
  host_not_granted: row(801, 403, "never", "The destination host is not granted.", "This agent may not talk to that host."),
  provider_unknown: row(802, 403, "never", "No provider of that dialect is configured.", "No provider serves this endpoint."),
  address_refused: row(803, 403, "never", "The host resolves to an address that is private, link-local or otherwise not public.", "That host is at an address that may not be reached."),
  name_unresolved: row(804, 502, "later", "The host has no address, or the name servers did not answer.", "That host could not be resolved."),
  not_inspectable: row(805, 403, "never", "A model provider's host in a way that cannot be inspected: another port, or TLS that cannot be ended here.", "That host can only be reached in a way this gateway can inspect."),
  model_elsewhere: row(806, 403, "never", "The model is served by another host than the one that was asked.", "That host does not serve this model here."),
  // 9 model
  model_not_granted: row(901, 403, "never", "The model is not granted.", "This agent may not use that model."),
  model_unknown: row(902, 403, "never", "No provider in policy serves a model of that name.", "That model is not known here."),
  model_name_malformed: row(903, 403, "never", "The model's name is outside the grammar.", "That model name is not acceptable."),
  session_not_granted: row(904, 403, "never", "A WebSocket session with a model whose sessions policy does not let go unread (models.*.sessions).", "Sessions with that model are not served here."),
  // 10 tool
  tool_not_granted: row(1001, 403, "never", "The request offers a tool that is not granted.", "This agent may not use one of the offered tools."),
  tool_call_not_granted: row(1002, 403, "never", "The response called a tool that is not granted.", "The model called a tool this agent may not use."),
  tool_unreadable: row(1003, 403, "never", "A tool definition has no name that can be judged.", "One of the offered tools cannot be identified."),
  tool_argument_refused: row(1004, 403, "never", "An argument of a call breaks a rule of policy (tools.arguments), or none names it; the detail is its name, in an answer after its tool's.", "The call has an argument that this agent may not use so."),
  // 11 classification
  class_not_cleared: row(1101, 403, "never", "The data's class is above the agent's clearance.", "The request carries data this agent is not cleared for."),
  class_not_cleared_provider: row(1102, 403, "never", "The data's class is above what the provider is cleared for.", "The request carries data that may not go to that provider."),
  // 12 content
  content_refused: row(1201, 403, "never", "The request matched a content rule.", "The request breaks a content rule."),
  content_cut: row(1202, 403, "never", "The response matched a content rule.", "The response broke a content rule and was cut."),
  scan_timeout: row(1203, 503, "later", "The scan did not finish before its deadline.", "The request could not be checked in time."),
  response_unscannable: row(1204, 502, "never", "The response could not be read as its dialect, so it could not be scanned.", "The provider's response could not be checked."),
  response_too_large: row(1205, 502, "never", "The response is one document and over answer_bytes_max; what it was held for is charged.", "The provider's response is too large; ask for less at once, or for a stream."),
  credential_in_response: row(1206, 502, "never", "The response, or an event of it, shows the credential that its request went with; that was not passed on.", "The provider's response shows a secret and was withheld."),
  // 13 rate
  rate_requests: row(1301, 429, "later", "Too many requests.", "Request rate limit reached."),
  rate_tokens: row(1302, 429, "later", "Too many tokens.", "Token rate limit reached."),
  rate_usd: row(1303, 429, "later", "Too much money in too short a time.", "Spend rate limit reached."),
  too_many_connections: row(1304, 429, "later", "The agent has connections_per_agent_max open.", "Too many connections are open for this agent."),
  delegation_rate: row(1305, 403, "never", "The delegation asks for more rate than the delegator has left; the detail says what would have fitted.", "The delegation asks for a faster rate than you have left."),
  rate_unavailable: row(1306, 503, "later", "No coordinator said in time what part of the agent's rate this node may use.", "The rate limit could not be checked now."),
  // 14 budget
  budget_exhausted: row(1401, 402, "never", "The worst case does not fit what is left.", "The budget does not cover this request."),
  price_unknown: row(1402, 403, "never", "The model has no price.", "That model has no price here, so it cannot be used."),
  overrun_exhausted: row(1403, 402, "never", "The overrun account is spent.", "The overrun reserve is used up."),
  budget_unavailable: row(1404, 503, "later", "The budget could not be asked in time.", "The budget could not be checked now."),
  hold_spent: row(1405, 402, "never", "The metered cost of the stream reached its hold.", "The response reached the cost that was reserved for it."),
  audit_unavailable: row(1406, 503, "later", "The audit log cannot be written, so nothing is allowed.", "The gateway cannot record decisions now."),
  upstream_unreachable: row(1407, 502, "later", "The provider could not be reached.", "The provider could not be reached."),
  upstream_timeout: row(1408, 504, "later", "The provider did not answer in time.", "The provider did not answer in time."),
  upstream_failed: row(1409, 502, "later", "The provider broke off its answer.", "The provider's answer broke off."),
  credential_unavailable: row(1410, 503, "later", "The provider's credential is not on this node.", "The gateway holds no credential for that provider."),
  policy_changed: row(1411, 503, "later", "The policy changed twice while this request was being decided, or has its model elsewhere by now.", "The policy changed during this request; try again."),
  tunnel_idle: row(1412, 504, "later", "No byte passed the tunnel within idle_timeout_ms.", "The tunnel was idle for too long."),
  tunnel_expired: row(1413, 504, "later", "The tunnel was open for total_timeout_ms.", "The tunnel was open for too long."),
  delegation_budget: row(1414, 402, "never", "The delegation asks for more than the delegator has left; the detail says what would have fitted.", "The delegation asks for more budget than you have left."),
} as const satisfies Record<string, ReasonEntry>;

export type Reason = keyof typeof REASONS;

/** The stage (1..14) a reason belongs to. */
export function stageOf(reason: Reason): number {
  return Math.floor(REASONS[reason].no / 100);
}
