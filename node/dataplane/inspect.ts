import { fileURLToPath } from "node:url";
import type { CompiledPolicy } from "../../policy/compiled-policy.ts";
import type { Clock } from "../../ports/clock.ts";
import { type Compute, ComputeFault } from "../../ports/compute.ts";
import type { Missing } from "../decision/facts.ts";
import type { Encoding } from "./content-encoding.ts";
import type { PolicyScanners } from "./content-scanners.ts";
import type { RelayDialect } from "./dialects/answer-part.ts";
import type { Route } from "./dialects/dialect.ts";
import { DIALECTS } from "./dialects/registry.ts";
import { type BodyInspection, inspectBody } from "./inspect-body.ts";
import type { InspectTask } from "./inspect-worker.ts";
import type { ToolOffer } from "./tool-offer.ts";

export type InspectRequest = {
  readonly agentId: string;
  /** Taken over: its memory may be gone afterwards. */
  readonly body: Buffer;
  readonly dialect: RelayDialect;
  readonly route: Route;
  readonly policy: Pick<CompiledPolicy, "sha256" | "content" | "limits">;
  readonly offer?: ToolOffer | undefined;
  /** How the body is compressed; such a one is never read in the loop. */
  readonly encoding?: Encoding | undefined;
};

export type Inspector = {
  /** Reads and scans a body: at once where it is small, else in the inspect pool. Never rejects. */
  inspect(request: InspectRequest): BodyInspection | Promise<BodyInspection>;
  /**
   * Starts a worker and has it compile a policy's rules, so that no body's deadline pays for it.
   * To be called before the policy comes into force. Never rejects.
   */
  warm(policy: InspectRequest["policy"]): Promise<void>;
  close(): Promise<void>;
};

export type InspectorDeps = {
  readonly clock: Clock;
  readonly scanners: PolicyScanners;
  readonly pool: Compute<InspectTask, BodyInspection>;
  /** A worker that failed; the request was refused. */
  readonly onFault: (fault: unknown) => void;
};

/**
 * Larger bodies would hold up the other agents of their loop. One of this size takes it 0.1 ms. From about
 * 6 KiB on the loop would have less work by handing it over, and whoever waits for the body would wait at least twice
 * as long (bench `inspect-pool`).
 */
export const INLINE_BYTES_MAX = 16 * 1024;

/** Large bodies of one agent that may wait for those before them. */
const WAITING_PER_AGENT_MAX = 16;

/** A worker loads its modules and compiles its rules within this time. */
const WARM_UP_MS_MAX = 30_000;

/** A worker sees to its own deadline; one that is this much late is hung. */
const HUNG_AFTER_MS = 1_000;

export function createInspector(deps: InspectorDeps): Inspector {
  return new PooledInspector(deps);
}

/** How the pool of a data loop is made: all but its clock and its number of threads. */
export const INSPECT_POOL = {
  workerFile: fileURLToPath(new URL("./inspect-worker.ts", import.meta.url)),
  exportName: "runInspectTask",
  queueMax: 1_024,
  heapMbMax: 256,
  youngMbMax: 12,
  handOver: (task: InspectTask): readonly ArrayBuffer[] => [task.bytes.buffer],
} as const;

/**
 * I1. At most one body of an agent is in the pool, so an agent with many large bodies waits for
 *     itself, not others for it: the pool's queue goes round the agents.
 * I2. A body that was not looked through in time is refused, never let pass.
 */
class PooledInspector implements Inspector {
  readonly #deps: InspectorDeps;
  /** Agents with a body in the pool, each with those of its bodies that wait for it. */
  readonly #waiting = new Map<string, (() => void)[]>();
  readonly #rules = new WeakMap<object, string>();

  constructor(deps: InspectorDeps) {
    this.#deps = deps;
  }

  inspect(request: InspectRequest): BodyInspection | Promise<BodyInspection> {
    const { clock, scanners } = this.#deps;
    const { body, dialect, route, policy, offer, encoding } = request;
    const { jsonDepthMax: depthMax, scanDeadlineMs } = policy.limits;
    const deadlineNs = clock.monoNs() + BigInt(scanDeadlineMs) * 1_000_000n;
    if (body.length > INLINE_BYTES_MAX || encoding !== undefined) {
      return this.#inPool(request, deadlineNs);
    }
    const { request: set } = scanners.of(policy);
    const pastDeadline = () => clock.monoNs() > deadlineNs;
    const options = { dialect, route, set, depthMax, pastDeadline, offer };
    return inspectBody(body, options);
  }

  async warm(policy: InspectRequest["policy"]): Promise<void> {
    const dialect = DIALECTS.openai;
    const route = dialect.routes[0] as Route;
    const body = Buffer.from("{}");
    const task = this.#taskOf({ agentId: "", body, dialect, route, policy }, 0n);
    try {
      await this.#deps.pool.run(task, WARM_UP_MS_MAX);
    } catch (fault) {
      this.#deps.onFault(fault);
    }
  }

  close(): Promise<void> {
    return this.#deps.pool.close();
  }

  async #inPool(request: InspectRequest, deadlineNs: bigint): Promise<BodyInspection> {
    const { agentId, policy } = request;
    if (!(await this.#turnOf(agentId))) return refused("too_many_waiting");
    try {
      if (this.#deps.clock.monoNs() > deadlineNs) return refused("scan_timeout");
      const deadlineMs = policy.limits.scanDeadlineMs + HUNG_AFTER_MS;
      return await this.#deps.pool.run(this.#taskOf(request, deadlineNs), deadlineMs);
    } catch (fault) {
      if (fault instanceof ComputeFault && fault.code !== "failed") return refused("scan_timeout");
      this.#deps.onFault(fault);
      return refused("stage_failed");
    } finally {
      this.#nextOf(agentId);
    }
  }

  /** Waits until no other body of the agent is in the pool. False: too many wait already. */
  async #turnOf(agentId: string): Promise<boolean> {
    const waiting = this.#waiting.get(agentId);
    if (waiting === undefined) {
      this.#waiting.set(agentId, []);
      return true;
    }
    if (waiting.length >= WAITING_PER_AGENT_MAX) return false;
    await new Promise<void>((resolve) => waiting.push(resolve));
    return true;
  }

  #nextOf(agentId: string): void {
    const next = this.#waiting.get(agentId)?.shift();
    if (next === undefined) this.#waiting.delete(agentId);
    else next();
  }

  #taskOf(request: InspectRequest, deadlineNs: bigint): InspectTask {
    const { body, dialect, route, policy, offer, encoding } = request;
    const { bodyBytesMax: bytesMax } = policy.limits;
    const rules = this.#rules.get(policy.content) ?? JSON.stringify(policy.content);
    this.#rules.set(policy.content, rules);
    return {
      bytes: ownBytes(body),
      dialect: dialect.name,
      routeId: route.id,
      rulesKey: policy.sha256,
      rules,
      depthMax: policy.limits.jsonDepthMax,
      deadlineNs,
      ...(offer !== undefined && { offer }),
      ...(encoding !== undefined && { encoded: { encoding, bytesMax } }),
    };
  }
}

function refused(missing: Missing["missing"]): BodyInspection {
  return { request: { missing }, scan: { missing } };
}

/** Bytes whose memory is nobody else's, so that it can be handed over. */
function ownBytes(body: Buffer): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = body;
  const owns = buffer instanceof ArrayBuffer && buffer.byteLength === byteLength;
  return owns ? new Uint8Array(buffer) : new Uint8Array(body);
}
