import { type MessagePort, parentPort } from "node:worker_threads";
import { Registry } from "prom-client";
import { cryptoRandom } from "../adapters/crypto-random.ts";
import { verifyEd25519 } from "../adapters/ed25519.ts";
import { machineDisk } from "../adapters/machine-disk.ts";
import { createNameResolver } from "../adapters/name-resolution.ts";
import { createPiscinaCompute } from "../adapters/piscina-compute.ts";
import { createKeyPair } from "../adapters/signing-keys.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { openNotePipe } from "../adapters/turn-pipe.ts";
import type { Compute } from "../ports/compute.ts";
import { http2 } from "../ports/http2-module.ts";
import { beginning } from "../ports/thread-beginning.ts";
import { openFloodCountFile } from "./audit/flood-count-file.ts";
import { FloodGate, SINGLE_REFUSALS_PER_SECOND_MAX } from "./audit/flood-gate.ts";
import { openWalSignal, roomOf } from "./audit/wal-signal.ts";
import { openWal } from "./audit/wal-writer.ts";
import { startDataLoop } from "./data-loop.ts";
import { INSPECT_POOL } from "./dataplane/inspect.ts";
import type { BodyInspection } from "./dataplane/inspect-body.ts";
import type { InspectTask } from "./dataplane/inspect-worker.ts";
import { type CertifyHost, HostCertificates } from "./dataplane/tls/host-certificates.ts";
import { createAddressRules } from "./dataplane/tunnel/address-rules.ts";
import { createUpstreamPools } from "./dataplane/upstream-pools.ts";
import { createFloodMetrics } from "./flood-metrics.ts";
import { FlowNotes } from "./flow-notes.ts";
import { gatheredPort } from "./gathered-port.ts";
import { gatePipes } from "./kernel/gate-pipes.ts";
import { NO_PLACEMENT, openPlacementFile } from "./placement-file.ts";
import { type RehearsedPolicy, rehearsePolicy } from "./rehearse-policy.ts";
import { openTable } from "./table/table.ts";
import type { LoopToControl } from "./thread-messages.ts";

/** What a data loop's thread is started with. */
export type LoopWorkerData = {
  readonly loop: number;
  readonly mesh: string;
  readonly node: string;
  readonly region: string | undefined;
  readonly tableBuffer: SharedArrayBuffer;
  readonly walSignal: SharedArrayBuffer;
  readonly walDir: string;
  /** Id of this start of the node, as in the names of its WAL files. */
  readonly run: string;
  readonly auditSyncMaxMs: number;
  readonly meshPort: MessagePort;
  readonly host: string;
  readonly gatewayPort: number;
  readonly forwardPort: number;
  /** Ranges of addresses beside the public ones that tunnels may go to. */
  /** Listening sockets that captured connections come from, this loop's own. */
  readonly captureFds: readonly number[];
  /** Where the machine's enforcer listens, where there is one. */
  readonly gateSocket: string | undefined;
  /** Who is at which address. */
  readonly podsFile: string | undefined;
  /** Addresses on which captured agents' questions for names are answered. */
  readonly dnsHosts: readonly string[];
  readonly tunnelRanges: readonly (readonly [net: string, bits: number])[];
  readonly loops: number;
  readonly connectionsMax: number;
  readonly credentialsDir: string | undefined;
  /** Teams whose own credentials may be read; undefined: any team's. */
  readonly credentialTeams: readonly string[] | undefined;
  /** Credentials from the environment, by name. */
  readonly credentials: ReadonlyMap<string, string>;
  /** The same for all loops: a session's requests may come to any of them. */
  readonly sessionSecret: Uint8Array;
  /** Records say on whose behalf a contract's requests are. */
  readonly recordsPersons: boolean;
};

const INSPECT_THREADS = 1;
/** How long what is certified in a rehearsal would count: longer than what is no longer shown. */
const REHEARSED_MS = 3_600_000;

/** What signs is loaded with the first grant: few loops look into TLS, and it costs 0.15 s of a processor. */
const certifyHost: CertifyHost = async (of) =>
  (await import("../adapters/x509-authority.ts")).certifyHost(of);

async function run(
  data: LoopWorkerData,
  pool: Compute<InspectTask, BodyInspection>,
): Promise<void> {
  if (parentPort === null) throw new Error("a data loop is started as a worker");
  const control = gatheredPort(parentPort);
  const meshPort = gatheredPort(data.meshPort);
  const table = openTable(data.tableBuffer);
  const signal = openWalSignal(data.walSignal);
  const wal = openWal({
    dir: data.walDir,
    run: data.run,
    writer: { no: data.loop, name: `loop${data.loop}` },
    table,
    signal,
    clock: systemClock,
    syncMaxMs: data.auditSyncMaxMs,
    disk: machineDisk,
  });
  const registry = new Registry();
  const floods = createFloodMetrics(registry);
  const log = new FloodGate({
    wal,
    clock: systemClock,
    singlesMax: Math.ceil(SINGLE_REFUSALS_PER_SECOND_MAX / data.loops),
    isRoomShort: () => roomOf(signal) !== "enough",
    pending: openFloodCountFile(machineDisk, {
      dir: data.walDir,
      run: data.run,
      writer: `loop${data.loop}`,
    }),
    ...floods,
  });
  const flows = flowNotes(data);
  const resolver = createNameResolver({ clock: systemClock });
  await startDataLoop({
    data,
    table,
    log,
    pool,
    pools: createUpstreamPools({ resolver, clock: systemClock }),
    tunnelling: {
      certificates: new HostCertificates({ clock: systemClock, certifyHost, createKeyPair }),
      resolver,
      addressRules: createAddressRules(data.tunnelRanges),
      placement:
        data.podsFile === undefined
          ? NO_PLACEMENT
          : openPlacementFile({ path: data.podsFile, clock: systemClock, onProblem: podsUnread }),
    },
    control,
    flows,
    meshPort,
    clock: systemClock,
    random: cryptoRandom,
    verify: verifyEd25519,
    registry,
    rehearsed,
    onEnd: () => {
      log.close();
      // The last word: what it has written is all there is.
      control.postMessage({ t: "closed" } satisfies LoopToControl);
      // An open port to another thread would keep this one from ending.
      meshPort.close();
      control.close();
      flows?.close();
    },
  });
}

/** Only what is captured can be in the kernel's way. */
function flowNotes({ gateSocket, captureFds }: LoopWorkerData): FlowNotes | undefined {
  if (gateSocket === undefined || captureFds.length === 0) return undefined;
  const { flows } = gatePipes(gateSocket);
  return new FlowNotes(systemClock, () => openNotePipe(flows));
}

/** What its first policy and its first inspected connection take: the modules, the rules of a policy in both threads, a certificate. */
async function rehearse(bundle: Uint8Array): Promise<void> {
  const compiled = rehearsePolicy(bundle, { pool: inspecting, clock: systemClock });
  [rehearsed] = await Promise.all([compiled, rehearseCertificate()]);
  http2();
}

/**
 * For a host that is none, under an authority that is nobody's. The real ones are made as soon as the node has its own, just before
 * what is captured is taken in.
 */
async function rehearseCertificate(): Promise<void> {
  const { createRoot } = await import("../adapters/x509-authority.ts");
  const clock = systemClock;
  const [nowMs, validMs] = [clock.nowMs(), REHEARSED_MS];
  const authority = await createRoot({ name: "rehearsal", nowMs, validMs });
  const certificates = new HostCertificates({ clock, certifyHost, createKeyPair });
  const host = "rehearsal.invalid";
  certificates.take({ authority, hosts: [host], notAfterMs: nowMs + validMs });
  await certificates.contextOf(host);
}

function podsUnread(why: string): void {
  process.stderr.write(`${JSON.stringify({ level: "warn", event: "pods_unread", why })}\n`);
}

let rehearsed: RehearsedPolicy | undefined;
// Its threads load their program meanwhile, and no policy is in force before they have.
const inspecting = createPiscinaCompute<InspectTask, BodyInspection>({
  ...INSPECT_POOL,
  clock: systemClock,
  threads: INSPECT_THREADS,
});
await run(await beginning<LoopWorkerData, Uint8Array>(rehearse), inspecting);
