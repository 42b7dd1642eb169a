/** Everything that the coordinator says about itself, by name. Names are in logs and in metrics. */
export const COORDINATOR_EVENTS = {
  mesh_founded: "info",
  started: "info",
  stopped: "info",
  /** A call over TLS by somebody who may not make it. */
  call_denied: "warn",
  /** There is no certificate yet: operators reach this coordinator by its unix socket alone, until there is one. */
  grpc_tls_waits: "warn",
  grpc_tls_opened: "info",
  grpc_tls_failed: "error",
  /** Connections are greeted with the renewed certificate from here on; or still with the one before. */
  grpc_tls_renewed: "info",
  grpc_tls_not_renewed: "error",
  /** What was done is not in this coordinator's own log. */
  call_unrecorded: "error",
  command_accepted: "info",
  command_committed: "info",
  command_conflict: "warn",
  /** A kill goes on although this coordinator's own disk did not take it. */
  kill_not_durable: "error",
  /** A node's question was answered, and the answer could not be sent. */
  reply_unsent: "warn",
  /** A node asked for an automatic kill. */
  auto_kill: "warn",
  auto_kill_limited: "warn",
  /** It cannot be signed with this coordinator's key: an operator has to kill that agent. */
  auto_kill_refused: "error",
  /** A bill was so far above its hold that every node is told to hold more for that model. */
  distrust_raised: "error",
  /** Bytes from the bus that are no record which counts. */
  record_refused: "warn",
  /** Two commands met at one version of a scope; the kill, or the greater hash, stands. */
  record_conflict: "warn",
  /** The stream did not have what this coordinator has; it was written again. */
  record_reoffered: "warn",
  /** A kill or a distrust of a coordinator whose key counts no more is said under this one's key. */
  record_said_again: "warn",
  /** A subject of the stream held something that is no record; it was written over. */
  stream_overwritten: "error",
  /** The stream lost its end, as after a power cut or a restored copy. */
  stream_rolled_back: "error",
  /** Another coordinator says another state, for longer than a record takes: the whole stream is read again. */
  states_differ: "error",
  stream_unreachable: "warn",
  /** A stream stores nothing for longer than an election takes; and that it does again. */
  stream_takes_nothing: "error",
  stream_takes_again: "info",
  store_failed: "error",
  /** Another coordinator has taken over the ledger: this one may lend nothing more. */
  ledger_fenced: "error",
  ledger_failed: "error",
  /** This coordinator leads the ledger from here on, or leads it no more. */
  ledger_led: "info",
  ledger_left: "warn",
  /** What a node did not say of leases that ran out counts as spent for good: it was removed, or there were too many. */
  leases_written_off: "warn",
  journal_unreachable: "warn",
  /** The journal has lost its end; what this coordinator remembers of it is written again. */
  journal_rolled_back: "error",
  /** The journal went on without what this coordinator remembers. */
  journal_reloaded: "error",
  /** Something in the journal that no coordinator wrote, or not there. */
  journal_link_refused: "error",
  journal_failed: "error",
  /** A signed policy that this program cannot read; the limits before it stay. */
  policy_unusable: "error",
  /** A signed policy of which a part is neither here nor in the stream; it is asked for until it is. */
  policy_part_missing: "warn",
  /** A node opened a log, which from then on must exist. */
  log_opened: "info",
  /** A log signed two checkpoints of one size; both are kept. */
  log_forked: "error",
  /** Another coordinator's own log is shorter than it was; both checkpoints are kept. */
  log_went_back: "error",
  /** A checkpoint does not go on from what was cosigned. */
  log_inconsistent: "error",
  /** A node offered a log under another key than the one it is known by. */
  log_key_refused: "error",
  /** The operator's file of witnesses has changed, and they are those from now on; or it cannot be used, and they stay. */
  outside_file_taken: "info",
  outside_file_refused: "error",
  /** A witness outside of the mesh has not answered for a minute; and that it does again. */
  outside_witness_silent: "error",
  outside_witness_answers: "info",
  /** One does not cosign a log: it was not told of it, or finds fault with what it was sent. */
  outside_witness_refused: "error",
  /** One has seen more of a log than is here. */
  outside_witness_ahead: "error",
  /** One has seen another log than is here: what it shows is kept. */
  outside_witness_disputes: "error",
  /** What was cosigned could not be kept, or what lies here not be read. */
  outside_witness_fault: "error",
  /** Shipped entries do not go on to what their log has signed. */
  archive_inconsistent: "error",
  archive_refused: "warn",
  /** The archive's thread has ended: nodes keep what they have until the next start. */
  archive_lost: "error",
  /** A log's records were removed from the archive by their age. */
  log_retired: "info",
  log_retirement_failed: "error",
  node_enrolled: "info",
  enrolment_refused: "warn",
  beat_refused: "warn",
  ack_refused: "warn",
  request_refused: "warn",
  handler_failed: "error",
} as const satisfies Record<string, "info" | "warn" | "error">;

export type CoordinatorEvent = keyof typeof COORDINATOR_EVENTS;

/** Says that something happened. Fields hold no secrets and no content. */
export type Tell = (event: CoordinatorEvent, fields?: Readonly<Record<string, unknown>>) => void;
