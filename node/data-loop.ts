import type { Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Registry } from "prom-client";
import type { Clock } from "../ports/clock.ts";
import type { Compute } from "../ports/compute.ts";
import { errorMessage } from "../ports/error-message.ts";
import { http2 } from "../ports/http2-module.ts";
import type { Keys } from "../ports/keys.ts";
import { ResolutionFault } from "../ports/names.ts";
import type { Random } from "../ports/random.ts";
import { stageOf } from "../proto/reasons.ts";
import { type Connections, createConnections } from "./dataplane/connections.ts";
import { createPolicyScanners } from "./dataplane/content-scanners.ts";
import { type Credentials, openCredentials } from "./dataplane/credentials.ts";
import { Drain } from "./dataplane/drain.ts";
import { createForwarder } from "./dataplane/forward.ts";
import type { Gateway } from "./dataplane/gateway.ts";
import { createInspector, type Inspector } from "./dataplane/inspect.ts";
import type { BodyInspection } from "./dataplane/inspect-body.ts";
import type { InspectTask } from "./dataplane/inspect-worker.ts";
import { createMcpSessions } from "./dataplane/mcp-sessions.ts";
import type { RefusedAtDoor } from "./dataplane/serve-exchange.ts";
import type { CutResult } from "./dataplane/teardown.ts";
import type { HostCertificates, InspectionGrant } from "./dataplane/tls/host-certificates.ts";
import type { UpstreamPools } from "./dataplane/upstream-pools.ts";
import { watchFreshness } from "./dataplane/watch-freshness.ts";
import { stageName } from "./decision/chain.ts";
import type { DecisionLog } from "./decision/commit.ts";
import { doorRecord } from "./door-record.ts";
import type { FlowNotes } from "./flow-notes.ts";
import { LiveDecisions } from "./live-decisions.ts";
import { LocalRefusals } from "./local-refusals.ts";
import type { LoopContext } from "./loop-context.ts";
import type { ControlHandlers } from "./loop-control-link.ts";
import { type LoopDoors, openDoors } from "./loop-doors.ts";
import { type ControlLink, createControlLink, createMeshLink } from "./loop-links.ts";
import { createLoopMetrics, type LoopMetrics } from "./loop-metrics.ts";
import { LoopPersons } from "./loop-persons.ts";
import type { LoopWorkerData } from "./loop-worker.ts";
import { noteAtDoor } from "./note-stranger.ts";
import { OpenHolds } from "./open-holds.ts";
import { NO_PLACEMENT } from "./placement-file.ts";
import { PolicyShelf } from "./policy-shelf.ts";
import { Possession } from "./possession.ts";
import type { RehearsedPolicy } from "./rehearse-policy.ts";
import { StrangerSightings } from "./stranger-sightings.ts";
import { isFresh, keyGeneration, policyVersion, type Table, trustVersion } from "./table/table.ts";
import type { ClosablePort } from "./thread-port.ts";
import { inspectTls, NO_INSPECTION, type ServeWithin } from "./tls-inspection.ts";

/** What a data loop is made of but its doors. */
export type LoopParts = {
  readonly data: Pick<LoopWorkerData, "loop" | "mesh" | "node" | "region"> &
    Pick<LoopWorkerData, "credentials" | "credentialsDir" | "credentialTeams" | "sessionSecret"> &
    Partial<Pick<LoopWorkerData, "recordsPersons">>;
  readonly table: Table;
  readonly log: DecisionLog;
  readonly pool: Compute<InspectTask, BodyInspection>;
  /** The way out to providers. */
  readonly pools: UpstreamPools;
  /** The way out to what tunnels are for; without it nothing resolves, so none is opened. */
  readonly tunnelling?: Pick<LoopContext, "resolver" | "addressRules" | "placement"> & {
    readonly certificates: HostCertificates;
  };
  readonly control: ClosablePort;
  readonly meshPort: ClosablePort;
  readonly clock: Clock;
  readonly verify: Keys["verify"];
  readonly registry: Registry;
  /** By this thread, before it was its turn. */
  readonly rehearsed?: RehearsedPolicy | undefined;
  /** The loop has drained and its doors are closed. */
  readonly onEnd: () => void;
};

export type DataLoopParts = Omit<LoopParts, "data"> & {
  readonly data: LoopWorkerData;
  readonly random: Random;
  /** Told of each captured connection that is taken in. */
  readonly flows?: Pick<FlowNotes, "tell"> | undefined;
};

/** What takes requests in, as far as an orderly end needs it. */
export type LoopDoor = Pick<Gateway, "serve" | "stopAccepting" | "close"> &
  Partial<Pick<LoopDoors, "capture" | "stopCapturing">>;

/** How long a request waits for money before there is a policy to say so. */
const RESERVE_WAIT_MS_DEFAULT = 250;

/** Wires one data loop and opens its doors: connections, the decision chain, relays. */
export async function startDataLoop(parts: DataLoopParts): Promise<void> {
  let doors: LoopDoors | undefined;
  const { loop, connections } = openDataLoop(parts, () => doors);
  doors = await openDoors({
    data: parts.data,
    loop,
    connections,
    random: parts.random,
    onRefused: (refused) => recordAtDoor(refused, loop),
    ...(parts.flows && { onCaptured: (socket: Socket) => parts.flows?.tell(socket) }),
    onFault: fail,
  });
  loop.live.watch(loop);
  loop.controlLink.listening(doors.gatewayPort, doors.forwardPort);
}

/** A data loop that serves whatever exchange `enforce` is called with. `door` is asked at its end. */
export function openDataLoop(
  parts: LoopParts,
  door: () => LoopDoor | undefined,
): { readonly loop: LoopContext; readonly connections: Connections } {
  const { clock, table } = parts;
  const connections = createConnections({ clock, onFault: fail });
  const drain = new Drain(connections, clock);
  let draining = false;
  const endOf = async (deadlineMs: number): Promise<void> => {
    if (drain.isReplaced) {
      // Those that came last have a moment to say what they want: a refusal now would be of the change's making.
      door()?.stopCapturing?.();
      await drain.latecomers();
    }
    draining = true;
    door()?.stopAccepting();
    await drain.ended(deadlineMs);
    tellStrangers(loop);
    loop.controlLink.drained(connections.count());
    await door()?.close();
    await Promise.all([loop.forwarder.close(), loop.inspector.close()]);
    loop.credentials.close();
    loop.controlLink.flush();
    parts.onEnd();
  };
  const outlive = async (deadlineMs: number): Promise<void> => {
    await drain.outlived(deadlineMs);
    loop.controlLink.drained(connections.count());
  };
  const loop = buildContext(parts, connections, {
    serve: (...of) => door()?.serve(...of),
    isDraining: () => draining,
    asked: {
      capture: () => faultOf(door()?.capture?.()),
      drain: (deadlineMs, accepts) => void (accepts ? outlive(deadlineMs) : endOf(deadlineMs)),
    },
  });
  watchFreshness({
    isFresh: (nowNs) => isFresh(table, nowNs),
    clock,
    closeAll: (cut) => void connections.closeAll(cut),
  });
  tellOpen(loop, connections);
  return { loop, connections };
}

/** Keeps what the control thread knows of open exchanges and of strangers about a second old. */
function tellOpen(loop: LoopContext, connections: Connections): void {
  loop.clock.after(OPEN_EVERY_MS, () => {
    loop.controlLink.open(connections.count());
    tellStrangers(loop);
    tellOpen(loop, connections);
  });
}

function tellStrangers({ strangers, controlLink }: LoopContext): void {
  const news = strangers.take();
  if (news !== undefined) controlLink.strangers(news);
}

const OPEN_EVERY_MS = 1_000;

type Turns = {
  readonly serve: ServeWithin;
  isDraining: () => boolean;
  /** By the control thread. */
  readonly asked: Pick<ControlHandlers, "capture" | "drain">;
};

function buildContext(parts: LoopParts, connections: Connections, turns: Turns): LoopContext {
  const { data, table, clock, log, registry, pool, pools, rehearsed } = parts;
  const metrics = createLoopMetrics(registry);
  const scanners = rehearsed?.scanners ?? createPolicyScanners();
  const inForce = () => policyVersion(table);
  const shelf = new PolicyShelf({ scanners, rehearsed, clock, inForce, nextTurn });
  const credentials = credentialsOf(data, clock);
  const inspector = createInspector({ clock, scanners, pool, onFault: fail });
  const holds = new OpenHolds(clock);
  const controlLink: ControlLink = createControlLink({
    port: parts.control,
    clock,
    reserveWaitMaxMs: () => shelf.newest()?.limits.reserveWaitMaxMs ?? RESERVE_WAIT_MS_DEFAULT,
    handlers: {
      policy: (version, bundle) => void takePolicy({ version, bundle }, policyParts),
      // The standing itself is in the row; what is open is told, after the row says so.
      standing: (agentId, standing) => {
        if (standing !== "quarantine" && standing !== "block") return;
        void cutting(() => connections.cutAtLevel(agentId, standing), { clock, metrics });
      },
      inspection: (grant) => takeGrant(grant, parts),
      personsErased: () => persons?.forget(),
      ...turns.asked,
      connections: () => connections.list(clock.monoNs()),
      holds: () => holds.list(),
      openByAgent: () => connections.byAgent(clock.monoNs()),
      metrics: () => registry.getMetricsAsJSON(),
    },
  });
  const persons = data.recordsPersons === true ? new LoopPersons(controlLink, clock) : undefined;
  const policyParts = { shelf, inspector, pools, controlLink };
  const meshLink = createMeshLink({
    port: parts.meshPort,
    clock,
    keyGeneration: () => keyGeneration(table),
    cutScope: (kill) => cutting(() => connections.cutKilled(kill), { clock, metrics }),
  });
  const { certificates, ...tunnelling } = parts.tunnelling ?? NO_TUNNELS;
  return {
    ...placeOf(data),
    table,
    clock,
    log,
    meshLink,
    controlLink,
    connections,
    forwarder: createForwarder({ pools, credentials, clock, onFault: fail }),
    inspector,
    scanners,
    credentials,
    ...tunnelling,
    inspection: inspectionBy(certificates, clock, turns),
    live: new LiveDecisions(),
    holds,
    refusals: new LocalRefusals(table, () => clock.monoNs()),
    sessions: createMcpSessions(data.sessionSecret),
    possession: new Possession({ ...parts, secret: data.sessionSecret }),
    ...(persons && { persons }),
    strangers: new StrangerSightings(),
    metrics,
    policyOf: (version) => shelf.of(version),
    trustVersion: () => trustVersion(table),
    isDraining: turns.isDraining,
  };
}

function placeOf({ loop, mesh, node, region }: LoopParts["data"]) {
  return { loop, mesh, node, region };
}

function takeGrant(grant: InspectionGrant, { tunnelling }: LoopParts): void {
  tunnelling?.certificates.take(grant);
  // The first client that speaks it must not be the one that all others wait for.
  if (grant.hosts.length > 0) http2();
}

function credentialsOf(data: LoopParts["data"], clock: Clock): Credentials {
  return openCredentials({
    clock,
    values: data.credentials,
    ...(data.credentialsDir !== undefined && { directory: data.credentialsDir }),
    teams: data.credentialTeams,
    onProblem: (name, why) => warn("credential_unusable", { name, why }),
    onTaken: (name) => say("info", "credential_taken", { name }),
  });
}

function inspectionBy(
  certificates: HostCertificates | undefined,
  clock: Clock,
  { serve }: Turns,
): LoopContext["inspection"] {
  return certificates === undefined ? NO_INSPECTION : inspectTls({ certificates, clock, serve });
}

/** Counts what a cut ended, and how long that took. */
async function cutting(
  cut: () => Promise<CutResult>,
  { clock, metrics }: { readonly clock: Clock; readonly metrics: LoopMetrics },
): Promise<CutResult> {
  const fromNs = clock.monoNs();
  const result = await cut();
  if (result.count > 0) metrics.tornDown(result.count, clock.monoNs() - fromNs);
  return result;
}

const NO_TUNNELS: Omit<NonNullable<LoopParts["tunnelling"]>, "certificates"> & {
  readonly certificates?: HostCertificates;
} = {
  resolver: { resolve: (name) => Promise.reject(new ResolutionFault("ENOTFOUND", name)) },
  addressRules: { permits: () => false },
  placement: NO_PLACEMENT,
};

type PolicyParts = {
  readonly shelf: PolicyShelf;
  readonly inspector: Inspector;
  readonly pools: UpstreamPools;
  readonly controlLink: ControlLink;
};

/** Makes everything ready that a request under this policy needs, and only then says so. */
async function takePolicy(
  { version, bundle }: { readonly version: number; readonly bundle: Uint8Array },
  { shelf, inspector, pools, controlLink }: PolicyParts,
): Promise<void> {
  try {
    const policy = await shelf.put(version, bundle);
    await inspector.warm(policy);
    pools.retain(shelf.origins());
    controlLink.policyReady(version);
  } catch (error) {
    controlLink.policyFailed(version, errorMessage(error));
  }
}

function recordAtDoor(refused: RefusedAtDoor, loop: LoopContext): void {
  const { reason } = refused;
  loop.metrics.decided({ stage: stageName(stageOf(reason)), reason, tookNs: 0n });
  noteAtDoor(refused, loop);
  const policy = loop.policyOf(policyVersion(loop.table));
  try {
    loop.log.append(doorRecord(refused, loop, policy));
  } catch (error) {
    loop.metrics.recordLost(error);
  }
}

async function faultOf(work: Promise<void> | undefined): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

/** A bug, found while one exchange was served: that exchange was ended, the loop goes on. */
function fail(error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  say("error", "exchange_fault", { text });
}

function warn(event: string, fields: Readonly<Record<string, string>>): void {
  say("warn", event, fields);
}

function say(level: string, event: string, fields: Readonly<Record<string, string>>): void {
  process.stderr.write(`${JSON.stringify({ level, event, ...fields })}\n`);
}
