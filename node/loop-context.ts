import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Clock } from "../ports/clock.ts";
import type { NameResolver } from "../ports/names.ts";
import type { Connections } from "./dataplane/connections.ts";
import type { PolicyScanners } from "./dataplane/content-scanners.ts";
import type { Credentials } from "./dataplane/credentials.ts";
import type { Forwarder } from "./dataplane/forward.ts";
import type { Inspector } from "./dataplane/inspect.ts";
import type { McpSessions } from "./dataplane/mcp-sessions.ts";
import type { AddressRules } from "./dataplane/tunnel/address-rules.ts";
import type { DecisionLog } from "./decision/commit.ts";
import type { LiveDecisions } from "./live-decisions.ts";
import type { LocalRefusals } from "./local-refusals.ts";
import type { ControlLink, MeshLink } from "./loop-links.ts";
import type { LoopMetrics } from "./loop-metrics.ts";
import type { LoopPersons } from "./loop-persons.ts";
import type { OpenHolds } from "./open-holds.ts";
import type { Placement } from "./placement-file.ts";
import type { Possession } from "./possession.ts";
import type { StrangerSightings } from "./stranger-sightings.ts";
import type { Table } from "./table/table.ts";
import type { TlsInspection } from "./tls-inspection.ts";

/** Everything one data loop works with; made once, when the loop starts. */
export type LoopContext = {
  /** Number of this loop, and so its pin column and its WAL. */
  readonly loop: number;
  readonly mesh: string;
  readonly node: string;
  /** ISO code of where this node is. */
  readonly region: string | undefined;
  readonly table: Table;
  readonly clock: Clock;
  readonly log: DecisionLog;
  readonly meshLink: MeshLink;
  readonly controlLink: ControlLink;
  readonly connections: Connections;
  readonly forwarder: Forwarder;
  readonly inspector: Inspector;
  readonly scanners: PolicyScanners;
  readonly credentials: Credentials;
  /** Names of agents' destinations to addresses. */
  readonly resolver: Pick<NameResolver, "resolve">;
  readonly addressRules: AddressRules;
  readonly inspection: TlsInspection;
  readonly live: LiveDecisions;
  readonly holds: OpenHolds;
  readonly refusals: LocalRefusals;
  readonly sessions: McpSessions;
  /** Who is at which address, for connections that are captured. */
  readonly placement: Placement;
  readonly possession: Possession;
  /** What stands for persons in records; absent where they are not recorded. */
  readonly persons?: LoopPersons;
  /** Who tries to get out and is no agent, until the control thread is told. */
  readonly strangers: StrangerSightings;
  readonly metrics: LoopMetrics;
  /** The compiled policy of the version that the table says is in force. */
  readonly policyOf: (version: number) => CompiledPolicy | undefined;
  /** Version of the trust bundle in force, for records. */
  readonly trustVersion: () => number;
  readonly isDraining: () => boolean;
};
