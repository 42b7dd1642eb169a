import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { connectNatsBus } from "../../adapters/nats-bus.ts";
import type { Lease } from "../../coordinator/ledger-lease.ts";
import { JournalRecordSchema } from "../../proto/gen/altrace/v1/journal_pb.ts";
import { SealedSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { JOURNAL_STREAM } from "../../proto/subjects.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { startNatsCluster } from "../support/nats-cluster.ts";
import { NATS_PROGRAMS } from "../support/nats-programs.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { type Member, type Mesh, startMesh } from "../support/start-mesh.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { stopProcess } from "../support/stop-process.ts";
import { waitUntil } from "../support/wait-until.ts";

// The coordinator that lends is stopped, another one lends, and the first goes on as if nothing had happened: with
// nodes' questions in its sockets that the other has answered since.
//
// I1. No account is lent more than its limit.
// I4, I6. The stream holds one chain: each link is of the one before it, and epochs never fall.

vi.setConfig(E2E_TIMEOUTS);

const CALLS = 40;
const BEFORE = "thrifty/before";
const MEANWHILE = ["thrifty/meanwhile-1", "thrifty/meanwhile-2"];
const AGENTS = [BEFORE, ...MEANWHILE];
const NODES = ["n1", "n2"];
const LEASE_KEY = "ledger/lease/";

let provider: Provider;
let mesh: Mesh;

const policy = (origin: string) =>
  e2ePolicy(origin).replace(
    "teams:\n",
    `teams:
  thrifty:
    budget: { usd: { day: "1000.00" }, calls: { day: ${CALLS * AGENTS.length} } }
    defaults:
      budget: { usd: { day: "100.00" }, calls: { day: ${CALLS} } }
      rate: { requests: 100000/minute burst 10000 }
      models: [openai/gpt-5-mini]
      clearance: confidential
    agents:
      before: {}
      meanwhile-1: {}
      meanwhile-2: {}
`,
  );

describe.each(NATS_PROGRAMS)("over three servers, $name,", ({ program, absent }) => {
  beforeAll(async () => {
    if (absent !== undefined) return;
    provider = await startProvider();
    mesh = await startMesh({
      nodes: NODES.length,
      coordinators: 3,
      cluster: await startNatsCluster(program === undefined ? {} : { program }),
      policy: policy(provider.origin),
      nodeEnv: PROVIDER_KEYS,
      coordinatorEnv: { ALTRACE_LEADER_TTL_MS: "1500" },
    });
    for (const agent of AGENTS) await mesh.issueKey(agent);
  });
  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
    await provider?.[Symbol.asyncDispose]();
  });

  test("I1, I4, I6: a coordinator that slept while another lent forks no ledger and lends nothing twice", async (context) => {
    context.skip(absent !== undefined, absent);
    const asleep = await whoLends();
    await served("n1", BEFORE);
    const before = await journal();
    await stopProcess(pidOf(asleep));
    // Both ask for the first time while the one that they know as the leader says nothing.
    await Promise.all(MEANWHILE.map((agent, i) => served(NODES[i] as string, agent)));
    const meanwhile = await journal();
    const awake = await whoLends(mesh.coordinators.filter((one) => one !== asleep));
    expect(meanwhile.epoch).toBeGreaterThan(before.epoch);
    for (const agent of MEANWHILE) expect(meanwhile.lentTo(agent), agent).toBeGreaterThan(0);
    process.kill(pidOf(asleep), "SIGCONT");
    // It says so itself: the chain, or the word of who leads, has gone on without it.
    await waitUntil("the one that slept to lead no more", () => said(asleep, "ledger_left"));
    expect(said(awake, "ledger_left")).toBe(false);
    const spent = await Promise.all(AGENTS.map(spendAll));
    for (const calls of spent) {
      expect(calls).toBeGreaterThan(0);
      expect(calls).toBeLessThanOrEqual(CALLS);
    }
    const after = await journal();
    for (const agent of AGENTS) expect(after.lentTo(agent), agent).toBeLessThanOrEqual(CALLS);
    expect(after.flaws).toEqual([]);
    for (const one of mesh.coordinators) expect(said(one, "journal_link_refused")).toBe(false);
  });
});

function pidOf({ process: running, name }: Member): number {
  if (running === undefined) throw new Error(`${name} does not run`);
  return running.pid;
}

function said({ process: running }: Member, event: string): boolean {
  return running?.stderr().includes(event) === true || running?.stdout().includes(event) === true;
}

async function whoLends(among: readonly Member[] = mesh.coordinators): Promise<Member> {
  return await waitUntil("a coordinator to lend", async () => {
    for (const member of among) {
      const { code } = await mesh.cliVia(member, "budget", "show", `agent/${BEFORE}`, "--json");
      if (code === 0) return member;
    }
    return undefined;
  });
}

async function ask(node: string, agent: string): Promise<string> {
  const { gateway, key } = mesh.door(node);
  const answer = await fetch(`${gateway}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key(agent)}` },
    body: JSON.stringify({
      model: "gpt-5-mini",
      max_tokens: 20,
      messages: [{ role: "user", content: `for ${agent}` }],
    }),
  });
  await answer.text();
  return `${answer.status} ${answer.headers.get("x-altrace-reason") ?? "ok"}`;
}

async function served(node: string, agent: string): Promise<void> {
  let answer = "";
  await waitUntil(
    () => `${agent} to be served by ${node}: ${answer}`,
    async () => {
      answer = await ask(node, agent);
      return answer === "200 ok";
    },
  );
}

/** Asks on all nodes at once until none of them has a call left. @returns What reached the provider. */
async function spendAll(agent: string): Promise<number> {
  await Promise.all(
    NODES.map((node) => {
      let answer = "";
      return waitUntil(
        () => `${node} to have nothing left for ${agent}: ${answer}`,
        async () => {
          do answer = await ask(node, agent);
          while (answer === "200 ok");
          return answer === "402 budget_exhausted";
        },
      );
    }),
  );
  return provider.reachedBy(`for ${agent}`).length;
}

/** The ledger as it lies in the stream, link by link, whatever any coordinator says of it. */
async function journal() {
  const bus = await connectNatsBus({ url: mesh.nats.url, name: "reader" });
  const leases = new Map<string, Lease>();
  const flaws: string[] = [];
  let epoch = 0n;
  let last: { readonly n: bigint; readonly hash: Buffer } | undefined;
  let parts: string[] = [];
  try {
    for (const { seq, bytes } of await allOf(bus)) {
      const { payload } = fromBinary(SealedSchema, bytes);
      const { n, prev, epoch: of, body } = fromBinary(JournalRecordSchema, payload);
      if (last && !last.hash.equals(prev)) flaws.push(`${seq}: not of the link before it`);
      if (last && n !== last.n + 1n) flaws.push(`${seq}: link ${n} after ${last.n}`);
      if (of < epoch) flaws.push(`${seq}: epoch ${of} after ${epoch}`);
      last = { n, hash: createHash("sha256").update(bytes).digest() };
      epoch = of;
      if (body.case === "part" && body.value.no === 0) parts = [];
      for (const { key, value } of body.value?.entries ?? []) {
        if (!key.startsWith(LEASE_KEY)) continue;
        parts.push(key);
        if (value === undefined) leases.delete(key);
        else leases.set(key, JSON.parse(Buffer.from(value).toString()));
      }
      if (body.case === "part" && body.value.no === body.value.count - 1) {
        for (const key of leases.keys()) if (!parts.includes(key)) leases.delete(key);
      }
    }
  } finally {
    await bus.close();
  }
  const lentTo = (agent: string): number => {
    const own = [...leases.values()].filter(({ chain }) => chain[0] === `agent/${agent}`);
    return own.reduce(
      (sum, { status, spent, amount }) =>
        sum + Number(status === "final" ? spent.calls : amount.calls),
      0,
    );
  };
  return { epoch: Number(epoch), flaws, lentTo };
}

type Bus = Awaited<ReturnType<typeof connectNatsBus>>;

async function allOf(bus: Bus): Promise<Awaited<ReturnType<Bus["read"]>>> {
  const all: Awaited<ReturnType<Bus["read"]>>[number][] = [];
  for (;;) {
    const page = await bus.read(JOURNAL_STREAM, (all.at(-1)?.seq ?? 0) + 1, 256);
    if (page.length === 0) return all;
    all.push(...page);
  }
}
