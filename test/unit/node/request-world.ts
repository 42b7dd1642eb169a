import type { ServerResponse } from "node:http";
import { onTestFinished } from "vitest";
import { cryptoRandom } from "../../../adapters/crypto-random.ts";
import { createPiscinaCompute } from "../../../adapters/piscina-compute.ts";
import { systemClock } from "../../../adapters/system-clock.ts";
import { type Connections, createConnections } from "../../../node/dataplane/connections.ts";
import { createPolicyScanners } from "../../../node/dataplane/content-scanners.ts";
import type { Exchange } from "../../../node/dataplane/exchange.ts";
import { createForwarder } from "../../../node/dataplane/forward.ts";
import { startGateway } from "../../../node/dataplane/gateway.ts";
import { GATEWAY_LIMITS } from "../../../node/dataplane/gateway-limits.ts";
import { createInspector, INSPECT_POOL } from "../../../node/dataplane/inspect.ts";
import type { BodyInspection } from "../../../node/dataplane/inspect-body.ts";
import type { InspectTask } from "../../../node/dataplane/inspect-worker.ts";
import { createUpstreamPools } from "../../../node/dataplane/upstream-pools.ts";
import { enforce } from "../../../node/enforce.ts";
import type { LoopContext } from "../../../node/loop-context.ts";
import { setPolicyVersion } from "../../../node/table/table.ts";
import type { AgentPolicy, CompiledPolicy } from "../../../policy/compiled-policy.ts";
import type { Compute } from "../../../ports/compute.ts";
import { grant, model, provider } from "../../support/builders.ts";
import { HOST } from "./dataplane/door.ts";
import { type FakeProvider, type Received, startFakeProvider } from "./dataplane/fake-provider.ts";
import { LoopWorld } from "./loop-world.ts";

export const AGENT = grant().agentId;
export const KEY = `altk_k1234567_${"a".repeat(43)}`;
export const SECRET = "sk-of-the-provider/0001";

export type RequestWorld = {
  readonly world: LoopWorld;
  readonly loop: LoopContext;
  readonly connections: Connections;
  readonly provider: FakeProvider;
  readonly faults: unknown[];
  readonly port: number;
  /** What the mesh thread says of the key from now on. */
  answerKeyBy(answer: LoopContext["meshLink"]["resolveKey"]): void;
  /** Puts a policy in force in which the agent is granted this; everything else stays. */
  switchPolicy(granted: Partial<AgentPolicy>, over?: Partial<CompiledPolicy>): void;
  chat(body: object, headers?: Readonly<Record<string, string>>): Promise<Response>;
};

/**
 * A gateway with a real table, chain, inspect pool and sockets, before a provider that answers as the
 * test says. Only who may do what, and the money, come from the test.
 */
export async function requestWorld(of: {
  readonly reply: (response: ServerResponse, request: Received) => void;
  readonly granted?: Partial<AgentPolicy>;
  readonly policy?: Partial<CompiledPolicy>;
}): Promise<RequestWorld> {
  const far = await startFakeProvider(of.reply);
  onTestFinished(() => far.close());
  const world = new LoopWorld();
  const served = provider({ origin: far.origin });
  const known = model({ provider: served });
  world.policy = {
    ...world.policy,
    agents: new Map([[AGENT, grant(of.granted)]]),
    providers: new Map([["openai", served]]),
    models: new Map([["openai:gpt-5-mini", known]]),
    // The first body waits for the pool's thread to start, which a loop has done beforehand.
    limits: { ...world.policy.limits, scanDeadlineMs: 60_000 },
    ...of.policy,
  };
  world.lend({ usdMicros: 10_000_000_000n, tokens: 1n << 40n, calls: 1_000n }, 1_000_000_000n);
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const connections = createConnections({ clock: systemClock, onFault });
  const row = { ...world.row, keyGeneration: 0, agentId: AGENT, keyId: "k1234567" };
  const whole = { ...row, contractId: undefined, notBeforeMs: 0, notAfterMs: 0 };
  let answerKey: LoopContext["meshLink"]["resolveKey"] = () => whole;
  const loop: LoopContext = {
    ...world.loop,
    clock: systemClock,
    connections,
    ...bytesOf(onFault),
    meshLink: {
      resolveKey: (...asked) => answerKey(...asked),
      delegate: async () => ({ refused: "contract_unavailable" as const, detail: "" }),
      forget: () => undefined,
      close: () => undefined,
    },
  };
  onTestFinished(() => Promise.all([loop.forwarder.close(), loop.inspector.close()]).then());
  const port = await openGateway(loop, connections, onFault);
  return {
    world,
    loop,
    connections,
    provider: far,
    faults,
    port,
    answerKeyBy: (answer) => {
      answerKey = answer;
    },
    switchPolicy: (granted, over = {}) => {
      const version = world.policy.version + 1;
      const agents = new Map([[AGENT, grant(granted)]]);
      world.policy = { ...world.policy, version, agents, ...over };
      setPolicyVersion(world.table, version);
    },
    chat: (body, headers = {}) =>
      fetch(`http://${HOST}:${port}/v1/chat/completions`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          authorization: `Bearer ${KEY}`,
          ...headers,
        },
        body: body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body),
      }),
  };
}

/** What reads, scans and sends bytes: as a loop has it, with one thread in its pool. */
function bytesOf(
  onFault: (error: unknown) => void,
): Pick<LoopContext, "scanners" | "inspector" | "forwarder" | "credentials"> {
  const scanners = createPolicyScanners();
  const credentials = {
    secretOf: () => SECRET,
    names: ["openai"],
    scrub: (words: string) => words,
    close: () => {},
  };
  const pool = poolWhenNeeded();
  const resolver = { resolve: () => Promise.reject(new Error("no name is needed")) };
  const lookup = () => {
    throw new Error("no name is needed");
  };
  const pools = createUpstreamPools({ resolver: { ...resolver, lookup }, clock: systemClock });
  return {
    scanners,
    credentials,
    inspector: createInspector({ clock: systemClock, scanners, pool, onFault }),
    forwarder: createForwarder({ pools, credentials, clock: systemClock, onFault }),
  };
}

/** Most tests send nothing that is large, and a thread costs more than they do. */
function poolWhenNeeded(): Compute<InspectTask, BodyInspection> {
  let pool: Compute<InspectTask, BodyInspection> | undefined;
  return {
    run: (task, deadlineMs) => {
      pool ??= createPiscinaCompute({ ...INSPECT_POOL, clock: systemClock, threads: 1 });
      return pool.run(task, deadlineMs);
    },
    close: async () => pool?.close(),
  };
}

async function openGateway(
  loop: LoopContext,
  registry: Connections,
  onFault: (error: unknown) => void,
): Promise<number> {
  const door = await startGateway({
    port: 0,
    host: HOST,
    reusePort: false,
    limits: GATEWAY_LIMITS,
    connectionsMax: 1_000,
    clock: systemClock,
    random: cryptoRandom,
    registry,
    onExchange: (exchange: Exchange) => enforce(exchange, loop),
    onRefused: () => undefined,
    onFault,
  });
  onTestFinished(() => door.close());
  return door.port;
}
