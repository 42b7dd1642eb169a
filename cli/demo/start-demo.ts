import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { type CommandContext, commandContext } from "../command-context.ts";
import { DEMO_FILE, type DemoFacts } from "../commands/env.ts";
import { newKey, putKey } from "../commands/key.ts";
import { sendPolicy } from "../commands/policy.ts";
import { createOutput } from "../output.ts";
import type { CliProcess } from "../program.ts";
import type { DemoPolicy } from "./demo-policy.ts";
import { startDemoProvider } from "./provider.ts";

const ENROL_TTL_MS = 600_000n;
const DEMO_NODE = "node-1";

/** What a mesh needs before its first agent can ask anything: policy, keys, a provider. */
export type Demo = {
  /** Virtual keys by agent. */
  readonly keys: Readonly<Record<string, string>>;
  /** One line on who answers: the demo provider, or the real ones. */
  readonly providers: string;
  /** Credentials that the demo provider wants, by name. */
  readonly credentials: ReadonlyMap<string, string>;
  /** Absent once the node is enrolled. */
  readonly enrolToken: string | undefined;
  /** Keeps what `altrace env` needs. */
  noteDoors(doors: { readonly gateway: string; readonly forward: string }): void;
  stop(): Promise<void>;
};

export type DemoOptions = {
  readonly home: string;
  readonly policy: DemoPolicy;
  readonly host: CliProcess;
};

/** Starts the demo provider where no real key is, applies the policy, issues keys. */
export async function startDemo({ home, policy, host }: DemoOptions): Promise<Demo> {
  const context = commandContext({ home }, host.env, createOutput(host.streams, true));
  const { standIns, providerPort: port } = policy;
  const provider = standIns.length > 0 ? await startDemoProvider({ port }) : undefined;
  try {
    await applyOwn(context, home, policy);
    const keys = await demoKeys(context, home, policy.agents);
    const enrolToken = await tokenOf(context);
    const secret = `demo-${Buffer.from(cryptoRandom.bytes(16)).toString("hex")}`;
    return {
      keys,
      providers: policy.providers,
      credentials: new Map(standIns.map((name) => [name, secret])),
      enrolToken,
      noteDoors: ({ gateway, forward }) =>
        writeFacts(home, { ...readFacts(home), gateway, forward, keys }),
      stop: async () => provider?.close(),
    };
  } catch (error) {
    await provider?.close();
    throw error;
  } finally {
    context.close();
  }
}

/**
 * Applies the demo's policy where there is none, or where the one in force is the demo's own of an
 * earlier start. A policy that an operator applied since stays: a restart widens nobody's authority.
 */
async function applyOwn(context: CommandContext, home: string, policy: DemoPolicy): Promise<void> {
  const sha256 = createHash("sha256").update(policy.bundle).digest();
  const { record } = await context.coordinator().calls.getScope({ scope: "policy" });
  const holds = (hash: Uint8Array) => record && Buffer.from(record.payload).includes(hash);
  const applied = readFacts(home)?.policySha256;
  const isOwn = applied !== undefined && holds(Buffer.from(applied, "hex"));
  if (holds(sha256) || (record !== undefined && !isOwn && !policy.isAsked)) return;
  await sendPolicy(context, policy.bundle);
  const facts = readFacts(home) ?? { gateway: "", keys: {} };
  writeFacts(home, { ...facts, policySha256: sha256.toString("hex") });
}

/** Undefined for a node that is enrolled already. */
async function tokenOf(context: CommandContext): Promise<string | undefined> {
  const { calls } = context.coordinator();
  const { v } = await calls.getScope({ scope: `node/${DEMO_NODE}` });
  if (v > 0n) return undefined;
  return (await calls.createEnrolmentToken({ node: DEMO_NODE, ttlMs: ENROL_TTL_MS })).token;
}

/** The keys of an earlier start, and new ones for agents that have none. */
async function demoKeys(
  context: CommandContext,
  home: string,
  agents: readonly string[],
): Promise<Record<string, string>> {
  const known = readFacts(home)?.keys ?? {};
  const keys: Record<string, string> = {};
  const { calls } = context.coordinator();
  for (const agent of agents) {
    const kept = known[agent];
    const keptId = kept?.split("_")[1];
    const { v } = keptId ? await calls.getScope({ scope: `key/${keptId}` }) : { v: 0n };
    if (kept !== undefined && v > 0n) {
      keys[agent] = kept;
      continue;
    }
    const made = newKey(cryptoRandom);
    await putKey(context, made, agent, 0n);
    keys[agent] = made.key;
    // Kept at once: a key that the mesh knows and nobody else does would be of no use.
    writeFacts(home, { gateway: "", ...readFacts(home), keys: { ...known, ...keys } });
  }
  return keys;
}

function readFacts(home: string): DemoFacts | undefined {
  try {
    return JSON.parse(readFileSync(join(home, "demo", DEMO_FILE), "utf8")) as DemoFacts;
  } catch {
    // The first start of this HOME.
    return undefined;
  }
}

function writeFacts(home: string, facts: DemoFacts): void {
  const folder = join(home, "demo");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, DEMO_FILE), `${JSON.stringify(facts, undefined, 2)}\n`, {
    mode: 0o600,
  });
}
