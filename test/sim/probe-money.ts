import type { Holder } from "./contract-holders.ts";
import type { Judged } from "./oracles/oracle.ts";
import type { SimAgent, Wish } from "./sim-agent.ts";
import type { SimEvent } from "./sim-event.ts";
import type { SimNode } from "./sim-node.ts";
import { INPUT_MICROS_PER_MTOK, OUTPUT_MICROS_PER_MTOK } from "./sim-provider.ts";

const WISH: Wish = {
  contentBytes: 10,
  outputTokens: 32,
  stream: false,
  bodyMs: 1,
  gonesAfterMs: undefined,
};
/** More than the body of such a request, what a node adds to it, and what a provider does. */
const INPUT_TOKENS_MAX = 1_000;
/** At most what a hold for such a request is, micro-dollars. */
const COST_MICROS =
  (INPUT_TOKENS_MAX * INPUT_MICROS_PER_MTOK + 32 * OUTPUT_MICROS_PER_MTOK) / 1_000_000;
const PROBE_MS_MAX = 20_000;

export type Probe = {
  readonly judged: Judged;
  readonly agents: readonly SimAgent[];
  readonly holders: readonly Holder[];
  readonly tell: (event: SimEvent) => void;
  /** Lets time pass, until it is over at most. */
  readonly pass: (ms: number, isOver: () => boolean) => Promise<void>;
};

/** Has every agent ask once on every node for little, one after another, and tells how each fared. */
export async function probeAll(probe: Probe): Promise<void> {
  for (const agent of probe.agents) {
    const accounts = [`agent/${agent.agentId}`];
    for (const node of probe.judged.nodes) await probeOne(probe, { agent, accounts }, node);
  }
  for (const { contract, agent } of probe.holders) {
    const accounts = [`contract/${contract.id}`, `agent/${agent.agentId}`];
    await probeOne(probe, { agent, accounts }, contract.node);
  }
}

async function probeOne(
  probe: Probe,
  { agent, accounts }: { readonly agent: SimAgent; readonly accounts: readonly string[] },
  node: SimNode,
): Promise<void> {
  const { agentId } = agent;
  const team = `team/${agentId.split("/")[0]}`;
  const available = await settled(probe, availableMicros(probe.judged, [...accounts, team]));
  const outcome = await settled(probe, agent.ask(node, WISH));
  if (available === undefined || outcome === undefined) {
    const error = new Error(`${agentId} had no answer on ${node.name} in ${PROBE_MS_MAX} ms`);
    probe.tell({ t: "bug", where: "probe", error });
    return;
  }
  probe.tell({
    t: "probed",
    node: node.name,
    agentId,
    reason: outcome.reason,
    availableMicros: available,
    costMicros: COST_MICROS,
  });
}

/** What the ledger could lend to whom these are the accounts of now, in money; nothing where calls have run out. */
async function availableMicros({ plane }: Judged, accounts: readonly string[]): Promise<number> {
  const parts = plane.leader?.parts;
  if (parts === undefined) return 0;
  const { contracts } = plane.journal;
  const isOver = (account: string): boolean =>
    account.startsWith("contract/") && contracts.get(account.slice(9))?.state !== "open";
  if (accounts.some(isOver)) return 0;
  let least = Number.POSITIVE_INFINITY;
  for (const account of accounts) {
    for (const row of await parts.ledger.rows(account)) {
      if (row.unit === "usd_micros") least = Math.min(least, row.available);
      if (row.unit === "calls" && row.available < 1) return 0;
    }
  }
  for (const row of await parts.ledger.rows("overrun")) {
    if (row.available < COST_MICROS) return 0;
  }
  return Math.max(0, least);
}

async function settled<T>(probe: Probe, call: Promise<T>): Promise<T | undefined> {
  let value: T | undefined;
  let isDone = false;
  call.then(
    (result) => {
      value = result;
      isDone = true;
    },
    (error: unknown) => {
      probe.tell({ t: "bug", where: "probe", error });
      isDone = true;
    },
  );
  await probe.pass(PROBE_MS_MAX, () => isDone);
  return value;
}
