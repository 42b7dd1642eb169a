import { wishBody } from "./fixtures/upstream.ts";
import { AlertReceiver, type ReceivedAlert } from "./harness/alert-receiver.ts";
import { atPace } from "./harness/at-pace.ts";
import type { Bench, BenchResult, Figure } from "./harness/bench.ts";
import { type CoresUsed, coresUsed } from "./harness/cores-used.ts";
import { Times } from "./harness/histogram.ts";
import { type MeshUnderTest, startMesh } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { RawPool } from "./harness/raw-pool.ts";
import { type RecordedRefusal, RefusalLoad } from "./harness/refusal-load.ts";
import { RefusalWatch } from "./harness/refusal-watch.ts";
import { until } from "./harness/until.ts";
import { untilServed } from "./harness/until-served.ts";
import { judgeDelivery, miscounted } from "./violations-verdict.ts";

/** Refusals, and allowed requests beside them, a second. */
const REFUSED_PER_SECOND = 200;
const ALLOWED_PER_SECOND = 1_200;
const WARM_SECONDS = 3;
const SECONDS = { full: { idle: 15, loaded: 30 }, short: { idle: 3, loaded: 4 } };
const CONNECTIONS = 64;
/** Allowed requests are load, and a machine that others use too must not end the bench by a late lease. */
const RESERVE_WAIT_MS = 1_000;
/** A subscriber is watching by then. */
const WATCHING_MS = 300;
/** What has not come by then is lost. */
const TOLD_WITHIN_MS = 10_000;
/** An alert repeats after a minute; then it has the count of what came meanwhile. */
const COUNTS_WITHIN_MS = 75_000;
const KILLED = "killed_agent";
const ONE_GROUP = "crowd/a00021";

export const violations: Bench = {
  name: "violations",
  question:
    "How long after its record is a refusal with who watches, and with a webhook's receiver?",
  run: async ({ isFull, durationMs }) => {
    const seconds = isFull ? SECONDS.full : SECONDS.short;
    const loaded = durationMs === undefined ? seconds.loaded : Math.ceil(durationMs / 1_000);
    const counts = [WARM_SECONDS, seconds.idle, loaded].map((one) => one * REFUSED_PER_SECOND);
    const agents = RefusalLoad.agentsFor(counts.reduce((sum, count) => sum + count, 0));
    await using receiver = await AlertReceiver.start();
    await using mesh = await startMesh({
      crowd: agents,
      reserveWaitMs: RESERVE_WAIT_MS,
      env: { ALTRACE_WEBHOOK_FILE: receiver.file },
    });
    await untilServed(mesh.altrace.ready.gateway, mesh.keys.neighbour);
    using load = await RefusalLoad.of(mesh, agents);
    await using watches = watchAll(mesh);
    await pause(WATCHING_MS);
    const { allowed, cores } = await sendAll(mesh, load, counts);
    const recorded = await load.recorded();
    const alerts = await alertsOf(receiver, recorded, isFull);
    await until(() => watches.all.told.length >= load.sent, TOLD_WITHIN_MS);
    const from = {
      idle: counts[0] as number,
      loaded: (counts[0] as number) + (counts[1] as number),
    };
    const seen = { recorded, alerts, watches, from, cores };
    return {
      load:
        `${REFUSED_PER_SECOND} refusals a second of ${agents} agents, for ${seconds.idle} s alone, ` +
        `then for ${loaded} s beside ${allowed} allowed requests, ${ALLOWED_PER_SECOND} a second`,
      ...describe(seen, isFull),
      notes: [
        `Refusals: ${JSON.stringify(load.reasons)}. Alerts received: ${receiver.alerts.length}.`,
        "From the time in the refusal's record, whole milliseconds, to the message in the hands of a " +
          "subscriber, or to the whole request at a webhook's receiver, by the machine's clock. Both are in the " +
          "generator's process and yield to the node. Of alerts the first of each agent and reason is timed.",
      ],
    };
  },
};

type Watches = AsyncDisposable & {
  readonly all: RefusalWatch;
  readonly killed: RefusalWatch;
  readonly one: RefusalWatch;
};

/** All refusals, those for one reason, and those of one agent. */
function watchAll({ operator }: MeshUnderTest): Watches {
  const all = new RefusalWatch(operator, { refusedOnly: true });
  const killed = new RefusalWatch(operator, { refusedOnly: true, reasons: [KILLED] });
  const one = new RefusalWatch(operator, { refusedOnly: true, filter: ONE_GROUP });
  const close = () => Promise.all([all, killed, one].map((each) => each[Symbol.asyncDispose]()));
  return { all, killed, one, [Symbol.asyncDispose]: async () => void (await close()) };
}

/** Warm-up, then alone, then beside allowed requests: how many of those, and who used processors meanwhile. */
async function sendAll(
  mesh: MeshUnderTest,
  load: RefusalLoad,
  [warm = 0, idle = 0, loaded = 0]: readonly number[],
): Promise<{ readonly allowed: number; readonly cores: CoresUsed }> {
  const perSecond = REFUSED_PER_SECOND;
  const pool = new RawPool(mesh.altrace.ready.gateway, { connections: CONNECTIONS });
  const body = wishBody("answer", "allowed");
  const allow = async () => {
    const { status, reason } = await pool.ask({ key: mesh.keys.neighbour, body });
    if (status !== 200) throw new Error(`expected an answer, not ${status} ${reason}`);
  };
  const beside = (refusals: number) => ({
    perSecond: ALLOWED_PER_SECOND,
    count: Math.round((refusals / REFUSED_PER_SECOND) * ALLOWED_PER_SECOND),
  });
  await Promise.all([
    atPace({ perSecond, count: warm }, (no) => load.ask(no)),
    atPace(beside(warm), allow),
  ]);
  await atPace({ perSecond, count: idle }, (no) => load.ask(warm + no));
  const used = coresUsed(mesh.altrace.pid);
  await Promise.all([
    atPace({ perSecond, count: loaded }, (no) => load.ask(warm + idle + no)),
    atPace(beside(loaded), allow),
  ]);
  const cores = used();
  pool.close();
  return { allowed: beside(loaded).count, cores };
}

type Recorded = ReadonlyMap<number, RecordedRefusal>;

function kindOf({ agent, reason }: { readonly agent: string; readonly reason: string }): string {
  return `${agent} ${reason}`;
}

/** What was received when each kind was told once, and in full when all was counted. */
async function alertsOf(
  receiver: AlertReceiver,
  recorded: Recorded,
  isFull: boolean,
): Promise<readonly ReceivedAlert[]> {
  const kinds = new Set([...recorded.values()].map(kindOf));
  await until(() => new Set(receiver.alerts.map(kindOf)).size >= kinds.size, TOLD_WITHIN_MS);
  const told = () => receiver.alerts.reduce((sum, { count }) => sum + count, 0);
  if (isFull) await until(() => told() >= recorded.size, COUNTS_WITHIN_MS);
  return [...receiver.alerts];
}

type Seen = {
  readonly recorded: Recorded;
  readonly alerts: readonly ReceivedAlert[];
  readonly watches: Watches;
  /** Numbers of the first refusals of both parts. */
  /** Beside allowed requests. */
  readonly cores: CoresUsed;
  readonly from: { readonly idle: number; readonly loaded: number };
};

function describe(
  { recorded, alerts, watches, from, cores }: Seen,
  isFull: boolean,
): Pick<BenchResult, "figures" | "skipped"> {
  const { all, killed, one } = watches;
  const refusals = [...recorded.values()];
  const streams = [
    judgeDelivery(idsOf(refusals), all.told),
    judgeDelivery(idsOf(refusals.filter(({ reason }) => reason === KILLED)), killed.told),
    judgeDelivery(idsOf(refusals.filter(({ agent }) => agent === ONE_GROUP)), one.told),
  ];
  const first = firstOf(alerts);
  const kinds = kindsOf(refusals);
  const webhook = judgeDelivery(kinds, first.told);
  const sum = (of: (stream: (typeof streams)[number]) => readonly string[]) =>
    streams.reduce((total, stream) => total + of(stream).length, 0);
  const keys = alerts.map((alert) => ({ key: kindOf(alert), count: alert.count }));
  const wrong = miscounted(refusals.map(kindOf), keys).length;
  const part = (lowest: number, end: number) =>
    [...recorded].filter(([no]) => no >= lowest && no < end).map(([, one]) => one);
  const idle = part(from.idle, from.loaded);
  const loaded = part(from.loaded, Number.POSITIVE_INFINITY);
  const after = (some: readonly RecordedRefusal[]) => judgeDelivery(idsOf(some), all.told).tookMs;
  const alerted = (some: readonly RecordedRefusal[]) =>
    judgeDelivery(kindsOf(some), first.told).tookMs;
  const missed = all.missed + killed.missed + one.missed;
  return {
    figures: [
      ...percentiles("subscriber", after(loaded)),
      ...percentiles("idle_subscriber", after(idle)),
      ...percentiles("webhook", alerted(loaded)),
      ...percentiles("idle_webhook", alerted(idle)),
      { name: "node_and_coordinator_cores", value: cores.node, unit: "cores" },
      { name: "generator_and_upstream_cores", value: cores.generator, unit: "cores" },
      { name: "other_programs_cores", value: cores.others, unit: "cores" },
      count("refusals", refusals.length),
      count("subscriber_received", all.told.length),
      count("subscriber_lost", sum(({ lost }) => lost) + missed),
      count(
        "subscriber_twice",
        sum(({ twice }) => twice),
      ),
      count(
        "subscriber_unasked",
        sum(({ unasked }) => unasked),
      ),
      count("webhook_kinds", kinds.size),
      count("webhook_received", first.told.length),
      count("webhook_lost", webhook.lost.length),
      count("webhook_twice", first.early + webhook.unasked.length),
      ...(isFull ? [count("webhook_miscounted", wrong)] : []),
    ],
    ...(!isFull && { skipped: new Map([["webhook_miscounted", "takes a minute; see --full"]]) }),
  };
}

function count(name: string, value: number): Figure {
  return { name, value, unit: "" };
}

function idsOf(refusals: readonly RecordedRefusal[]): ReadonlyMap<string, number> {
  return new Map(refusals.map(({ requestId, recordedMs }) => [requestId, recordedMs]));
}

/** When the first of each agent and reason was recorded. */
function kindsOf(refusals: readonly RecordedRefusal[]): ReadonlyMap<string, number> {
  const first = new Map<string, number>();
  for (const refusal of refusals) {
    const before = first.get(kindOf(refusal)) ?? Number.POSITIVE_INFINITY;
    first.set(kindOf(refusal), Math.min(before, refusal.recordedMs));
  }
  return first;
}

/** An alert's minute, less what the deliveries of two may differ by. */
const ALERT_AGAIN_MS = 50_000;

/** The first alert of each kind, and how many came again within their minute. */
function firstOf(alerts: readonly ReceivedAlert[]) {
  const lastMs = new Map<string, number>();
  const told: { key: string; atMs: number }[] = [];
  let early = 0;
  for (const alert of alerts) {
    const key = kindOf(alert);
    const before = lastMs.get(key);
    if (before === undefined) told.push({ key, atMs: alert.atMs });
    else if (alert.atMs - before < ALERT_AGAIN_MS) early += 1;
    lastMs.set(key, alert.atMs);
  }
  return { told, early };
}

function percentiles(name: string, tookMs: readonly number[]): readonly Figure[] {
  if (tookMs.length === 0) throw new Error(`${name}: nothing was told`);
  const times = new Times();
  for (const ms of tookMs) times.add(ms * 1e6);
  return [
    { name: `${name}_p50_ms`, value: times.percentileMs(50), unit: "ms" },
    { name: `${name}_p99_ms`, value: times.percentileMs(99), unit: "ms" },
    { name: `${name}_max_ms`, value: times.maxMs, unit: "ms" },
  ];
}
