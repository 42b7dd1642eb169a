import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { startAdminServer } from "../../adapters/admin-server.ts";
import { askCanary, canaryEars } from "../../adapters/canary-sockets.ts";
import { clusterApi } from "../../adapters/cluster-api.ts";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { startGateHelper } from "../../adapters/gate-helper.ts";
import { followHostCommand, hostCommand } from "../../adapters/host-command.ts";
import { type LineConnection, serveLines } from "../../adapters/line-socket.ts";
import { netlinkSocket } from "../../adapters/netlink-socket.ts";
import { registerProcessMetrics } from "../../adapters/process-metrics.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { CanaryRounds, silent } from "./canary.ts";
import { readCniResult } from "./cni-result.ts";
import { EbpfLayer, type PodGroup } from "./ebpf-layer.ts";
import { Enforcer, type EnforcerEvents } from "./enforcer.ts";
import type { EnforcerConfig } from "./enforcer-config.ts";
import { type EnforcerMetrics, enforcerMetrics } from "./enforcer-metrics.ts";
import { GateHelperKeeper } from "./gate-helper-keeper.ts";
import { type GatePod, readGateQuestion } from "./gate-messages.ts";
import { gatePipes } from "./gate-pipes.ts";
import { KeptPods } from "./kept-pods.ts";
import { KernelGate } from "./kernel-gate.ts";
import type { NotedPod } from "./link-map.ts";
import { readMachine } from "./machine-reader.ts";
import type { Pod, PodSource } from "./pod.ts";
import { podCgroupPaths } from "./pod-cgroup.ts";
import { readPod, readPodList } from "./pod-list.ts";
import { ClusterFault, PodWatch } from "./pod-watch.ts";
import { podsFromFile } from "./pods-file.ts";
import { rehearseGate } from "./rehearse-gate.ts";
import { RuleKeeper } from "./rule-keeper.ts";
import { ToldPods } from "./told-pods.ts";

const BOOT_FILE = "/proc/sys/kernel/random/boot_id";

export type RunningEnforcer = { stop(): Promise<void> };

/** Starts the enforcer: rules first, then the gate's door, then everything that tells of it. */
export async function startEnforcer(config: EnforcerConfig, log: Logger): Promise<RunningEnforcer> {
  const registry = new Registry();
  registerProcessMetrics(registry);
  const metrics = enforcerMetrics(registry, {
    pods: () => enforcer.pods,
    wrong: () => enforcer.wrong(),
    hasHelper: () => helper.isRunning,
    ebpfPods: () => ebpf?.podCount ?? 0,
    packets: () => keeper.packets(),
  });
  const keeper = new RuleKeeper(hostCommand);
  const listeners = new Set<LineConnection>();
  rehearseGate();
  mkdirSync(dirname(config.gateSocket), { recursive: true, mode: 0o755 });
  const helper = gateHelper(config, log);
  const ebpf = await ebpfLayer(config, log);
  const gate = openGate(config, {
    ...{ metrics, log, helper },
    onSwept: (scope, count) => {
      const atUs = Number(systemClock.monoNs() / 1_000n);
      for (const listener of listeners) listener.send({ t: "swept", scope, count, atUs });
    },
  });
  const told = toldPods(join(dirname(config.gateSocket), "pods.json"), log);
  const enforcer = new Enforcer({
    clock: systemClock,
    keeper,
    gate,
    pods: alsoTold(podSource(config, log), told),
    kept: keptPods(config, log),
    readMachine: () => readMachine(hostCommand, () => readNotes(config.cniResults)),
    follow: followHostCommand,
    infraLinks: config.infraLinks,
    checkMs: config.checkMs,
    events: enforcerEvents({ log, metrics, listeners, ebpf, told }),
  });
  // Before the node may connect, which then finds both ways.
  await Promise.all([enforcer.start(), helper.start()]);
  const server = await serveLines(config.gateSocket, config.gateGid, (connection) => {
    listeners.add(connection);
    connection.send(enforcer.podsAnswer());
    connection.send(enforcer.stateAnswer());
    return {
      onMessage: (message) => {
        const question = readGateQuestion(message);
        if (!question) return connection.close();
        const startedNs = systemClock.monoNs();
        const answer = enforcer.answer(question);
        connection.send(answer);
        const isGated = answer.t === "done" && answer.error === undefined;
        metrics.gated(systemClock.monoNs() - startedNs, isGated);
      },
      onEnd: () => void listeners.delete(connection),
    };
  });
  const canary = await startCanary(config, { enforcer, gate, metrics, log });
  const admin = await startAdminServer({
    host: config.metricsHost,
    port: config.metricsPort,
    metrics: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
    notReady: () => enforcer.wrong().map(({ rc, what }) => `${rc}: ${what}`),
    onBug: (error) => log.error({ event: "handler_failed", error: String(error) }),
  });
  log.info({ event: "enforcer_started", gate: config.gateSocket, metrics: admin.port });
  return {
    stop: async () => {
      canary.stop();
      enforcer.stop();
      helper.stop();
      await Promise.all([server.close(), admin.close()]);
    },
  };
}

function enforcerEvents(of: {
  readonly log: Logger;
  readonly metrics: EnforcerMetrics;
  readonly listeners: ReadonlySet<LineConnection>;
  readonly ebpf: EbpfLayer | undefined;
  readonly told: ToldPods;
}): EnforcerEvents {
  const { log, metrics, listeners, ebpf, told } = of;
  return {
    onLoaded: (pods, tookNs) => {
      metrics.loaded(tookNs);
      log.info({ event: "rules_loaded", pods, ms: Number(tookNs / 1_000_000n) });
    },
    onRepair: (wrong) => {
      metrics.repaired();
      log.error({ event: "rules_repaired", wrong });
    },
    onUnplaced: (pods) =>
      log.warn({ event: "pods_unplaced", pods: pods.map((p) => `${p.namespace}/${p.name}`) }),
    onContested: (pods) => {
      const addresses = pods.map(({ addresses, name }) => `${addresses[0]}: ${name}`);
      log.warn({ event: "addresses_contested", addresses });
    },
    onFault: (what) => log.error({ event: "rules_fault", what }),
    onGoverned: (pods) => void ebpf?.sync(pods),
    onAnswer: (answer) => {
      if (answer.t === "pods") told.tell(answer.pods);
      for (const listener of listeners) listener.send(answer);
    },
  };
}

/**
 * Says who has which address, in a file: the node, which must not ask the cluster, reads it there.
 * Strangers are listed without a name, because a captured connection of theirs is refused as such.
 */
export function writePods(file: string, pods: readonly GatePod[]): void {
  const rows = pods.map(({ namespace, name, agent, address }) => ({
    ...(namespace !== "" && { namespace }),
    name,
    ...(agent !== undefined && { agent }),
    addresses: [address],
  }));
  replaceFile(file, JSON.stringify(rows), { mode: 0o644 });
}

/** Whoever reads it finds the one before or this one, whole. */
function replaceFile(
  file: string,
  text: string,
  options: { readonly mode: number; readonly flush?: boolean },
): void {
  writeFileSync(`${file}.new`, text, options);
  renameSync(`${file}.new`, file);
}

function toldPods(file: string, log: Logger): ToldPods {
  return new ToldPods({
    clock: systemClock,
    write: (pods) => writePods(file, pods),
    remove: () => rmSync(file, { force: true }),
    onFault: (what) => log.error({ event: "pods_unsaid", what }),
  });
}

/** What the node was not told is as much out of date as what was not heard. */
function alsoTold(source: PodSource, told: ToldPods): PodSource {
  return {
    start: (onPods) => source.start(onPods),
    stop: () => {
      source.stop();
      told.stop();
    },
    staleBecause: () => source.staleBecause() ?? told.unsaidBecause,
  };
}

/** Where it was asked for. A kernel that does not take it is told, and changes nothing else. */
async function ebpfLayer(config: EnforcerConfig, log: Logger): Promise<EbpfLayer | undefined> {
  const { ebpfObject: object, ebpfPins: pins, cgroupRoot } = config;
  if (object === undefined) return undefined;
  const layer = new EbpfLayer({
    run: hostCommand,
    object,
    pins,
    groupOf: (uid) => groupOf(cgroupRoot, uid),
    onFault: (what) => log.warn({ event: "ebpf_fault", what }),
  });
  if (await layer.load()) log.info({ event: "ebpf_loaded", pins });
  return layer;
}

function groupOf(root: string, uid: string): PodGroup | undefined {
  for (const name of podCgroupPaths(uid)) {
    const path = join(root, name);
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (found !== undefined) return { path, id: found.ino };
  }
  return undefined;
}

function gateHelper(config: EnforcerConfig, log: Logger): GateHelperKeeper {
  const { ask, say, flows } = gatePipes(config.gateSocket);
  const args = [ask, say, flows, String(config.gateGid)];
  return new GateHelperKeeper({
    clock: systemClock,
    start: (on) => startGateHelper(config.gateHelper, args, on),
    onState: (why) => {
      if (why === undefined) log.info({ event: "gate_helper_started" });
      else log.warn({ event: "gate_helper_missing", program: config.gateHelper, why });
    },
  });
}

function openGate(
  config: EnforcerConfig,
  of: {
    readonly metrics: EnforcerMetrics;
    readonly log: Logger;
    readonly helper: GateHelperKeeper;
    readonly onSwept: (scope: string, count: number) => void;
  },
): KernelGate {
  const { metrics, log, helper, onSwept } = of;
  const [netfilter, sockets] = config.netlinkFds as [number, number];
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  const file = join(config.stateDir, "killed.json");
  return new KernelGate(
    {
      clock: systemClock,
      calls: { netfilter: netlinkSocket(netfilter), sockets: netlinkSocket(sockets) },
      onScopes: (addresses) => helper.setScopes(addresses),
      keep: (scopes) => replaceFile(file, JSON.stringify(scopes), { mode: 0o600, flush: true }),
      onSwept: (scope, count) => {
        onSwept(scope, count);
        metrics.swept(count);
        if (count > 0) log.warn({ event: "sockets_swept", scope, count });
      },
      onFault: (what) => log.error({ event: "gate_fault", what }),
    },
    keptScopes(file),
  );
}

/** Not flushed: of what was there before a power cut nothing counts. */
function keptPods({ stateDir, exemptNamespaces }: EnforcerConfig, log: Logger): KeptPods {
  const file = join(stateDir, "pods.json");
  return new KeptPods({
    boot: readFileSync(BOOT_FILE, "utf8").trim(),
    // One of an operator's own list has no namespace.
    isExempt: (namespace) => namespace === "" || exemptNamespaces.includes(namespace),
    read: () => (existsSync(file) ? readFileSync(file, "utf8") : undefined),
    write: (text) => replaceFile(file, text, { mode: 0o600 }),
    remove: () => rmSync(file, { force: true }),
    onFault: (what) => log.error({ event: "pods_unkept", what }),
  });
}

/** What was killed when this ran last. A file that cannot be read stops the start: doubt is a refusal. */
function keptScopes(file: string): readonly string[] {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as string[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Every canary pod of this machine, once in a while. */
async function startCanary(
  config: EnforcerConfig,
  of: {
    readonly enforcer: Enforcer;
    readonly gate: KernelGate;
    readonly metrics: EnforcerMetrics;
    readonly log: Logger;
  },
): Promise<{ stop(): void }> {
  const { enforcer, gate, metrics, log } = of;
  // Whoever lists the pods by hand may list a canary too, and need not.
  const isNeeded = config.podsFile === undefined;
  const rounds = new CanaryRounds({
    clock: systemClock,
    random: cryptoRandom,
    machineAddresses,
    podsBeside: (canary) =>
      enforcer.pods.flatMap(({ addresses }) => (addresses.includes(canary) ? [] : addresses)),
    isKilled: (canary) => gate.killedAddresses().includes(canary),
    port: config.canaryPort,
    ask: (address, question) => askCanary(address, config.canaryPort, question, CANARY_WAIT_MS),
    settleMs: CANARY_SETTLE_MS,
    onUnable: (address, ways) => log.warn({ event: "canary_limited", address, ways }),
  });
  const ears = await canaryEars(config.canaryPort, (word) => rounds.hear(word));
  let isStopped = false;
  const round = async (): Promise<void> => {
    const canaries = enforcer.pods.filter(({ canary }) => canary);
    const addresses = canaries.flatMap((pod) => pod.addresses.slice(0, 1));
    if (addresses.length > 0 || isNeeded) {
      const wrong = await rounds.round(addresses);
      metrics.canary(wrong);
      if (wrong.length > 0) log.error({ event: "canary", wrong });
      enforcer.noteCanary(wrong);
    }
    if (!isStopped) systemClock.after(config.canaryMs, () => void round());
  };
  if (isNeeded) enforcer.noteCanary([silent("the canary has not tried yet")]);
  void round();
  return {
    stop: () => {
      isStopped = true;
      ears.close();
    },
  };
}

const CANARY_WAIT_MS = 5_000;
const CANARY_SETTLE_MS = 100;

function machineAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
    .map(({ address }) => address)
    .slice(0, 8);
}

function podSource(config: EnforcerConfig, log: Logger): PodSource {
  if (config.podsFile !== undefined)
    return podsFromFile({
      file: config.podsFile,
      clock: systemClock,
      onFault: (what) => log.error({ event: "pods_file", what }),
    });
  return new PodWatch({
    api: clusterOf(config),
    clock: systemClock,
    node: config.kubernetesNode as string,
    exemptNamespaces: config.exemptNamespaces,
    onFault: (what) => log.warn({ event: "cluster_fault", what }),
  });
}

function clusterOf(config: EnforcerConfig): ReturnType<typeof clusterApi> {
  const refusal = (message: string, status?: number) => new ClusterFault(message, status);
  return clusterApi(config.kubernetesUrl as string, config.serviceAccountDir, refusal);
}

/** The pods as they are now, once. */
export async function podsOf(config: EnforcerConfig): Promise<readonly Pod[]> {
  if (config.podsFile !== undefined) return readPodList(readFileSync(config.podsFile, "utf8"));
  const field = encodeURIComponent(`spec.nodeName=${config.kubernetesNode}`);
  const list = await clusterOf(config).list(`/api/v1/pods?fieldSelector=${field}`);
  const { items = [] } = list as { items?: Parameters<typeof readPod>[0][] };
  return items.flatMap((item) => readPod(item, config.exemptNamespaces) ?? []);
}

/** What the network plugin noted of the pods that it connected; none where there is no plugin. */
export function readNotes(folder: string): readonly NotedPod[] {
  try {
    return readdirSync(folder).flatMap(
      (name) => readCniResult(readFileSync(join(folder, name), "utf8")) ?? [],
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
