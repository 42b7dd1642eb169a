import { readdirSync } from "node:fs";
import { request } from "undici";
import { DELAY_LOOK_MS } from "../../adapters/process-metrics.ts";
import { wishBody } from "../fixtures/upstream.ts";
import type { MeshUnderTest } from "../harness/mesh-under-test.ts";
import { pause } from "../harness/operator.ts";
import { treeResidentMib } from "../harness/process-tree.ts";

const LOOK_EVERY_MS = 10;
const LAG_MS_MAX = 30_000;
/** What budgets are of: delays as whoever looks every 10 ms sees them, the wait for the look among them. */
const LOOKED_AT_MS = 10;

export type Sample = {
  /** Seconds since the soak began. */
  readonly atS: number;
  readonly residentMib: number;
  readonly fds: number;
  /** p99 of the control thread's event loop since the last look at its metrics, milliseconds. */
  readonly loopDelayMs: number;
  /** From the answer of a request until its record is found in the log, milliseconds. */
  readonly auditLagMs: number;
};

export async function takeSample(mesh: MeshUnderTest, atS: number): Promise<Sample> {
  const { pid, ready } = mesh.altrace;
  const auditLagMs = await auditLag(mesh);
  const metrics = await (await request(ready.metrics)).body.text();
  const p99 = /^nodejs_eventloop_lag_p99_seconds(?:\{[^}]*\})? (\S+)$/m.exec(metrics)?.[1];
  if (p99 === undefined) throw new Error("the node tells no event-loop delay");
  return {
    atS,
    residentMib: treeResidentMib(pid),
    fds: openFds(pid),
    loopDelayMs: Number(p99) * 1_000 - DELAY_LOOK_MS + LOOKED_AT_MS,
    auditLagMs,
  };
}

/** Files, sockets and everything else that a process has open. */
export function openFds(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

async function auditLag({ altrace, keys, operator }: MeshUnderTest): Promise<number> {
  const { headers, body } = await request(`${altrace.ready.gateway}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${keys.neighbour}` },
    body: wishBody("answer", "lag"),
  });
  await body.dump();
  const answeredMs = performance.now();
  const requestId = String(headers["x-request-id"]);
  for (;;) {
    const found = await operator.node.calls.explain({ requestId }).catch(() => undefined);
    const lagMs = performance.now() - answeredMs;
    // Both of its records: the decision, and what was settled when it was answered.
    if (found !== undefined && found.records.length === 2) return lagMs;
    if (lagMs > LAG_MS_MAX) throw new Error(`no record of ${requestId} in ${LAG_MS_MAX} ms`);
    await pause(LOOK_EVERY_MS);
  }
}
