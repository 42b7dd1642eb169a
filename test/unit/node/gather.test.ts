import { beforeEach, describe, expect, test } from "vitest";
import { createConnections } from "../../../node/dataplane/connections.ts";
import {
  compileContentNow,
  createPolicyScanners,
} from "../../../node/dataplane/content-scanners.ts";
import type { Route } from "../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS } from "../../../node/dataplane/dialects/registry.ts";
import type { Exchange } from "../../../node/dataplane/exchange.ts";
import { createInspector } from "../../../node/dataplane/inspect.ts";
import { type BodyInspection, inspectBody } from "../../../node/dataplane/inspect-body.ts";
import type { InspectTask } from "../../../node/dataplane/inspect-worker.ts";
import { decide } from "../../../node/decision/decide.ts";
import { factsNow, gatherBody, gatherHead } from "../../../node/gather.ts";
import type { LoopContext } from "../../../node/loop-context.ts";
import type { KeyAnswer } from "../../../node/loop-key-cache.ts";
import { Possession } from "../../../node/possession.ts";
import { createRowOwner } from "../../../node/table/rows.ts";
import { NO_CELL } from "../../../node/table/scope-cells.ts";
import {
  bumpKeyGeneration,
  createTable,
  keyGeneration,
  setOpenUntilNs,
  setPolicyVersion,
  type Table,
} from "../../../node/table/table.ts";
import type { RowGrant } from "../../../node/thread-messages.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import type { Compute } from "../../../ports/compute.ts";
import { type TwinClock, twinClock } from "../../../ports/twin-clock.ts";
import { contentRule, policy } from "../../support/builders.ts";
import { AUTHORITY } from "../../support/contract-forge.ts";
import { RecordedExchange } from "./dataplane/recorded-exchange.ts";

const KEY = `altk_k1234567_${"A".repeat(43)}`;
const SMALL = bodyOf("the code is secret-1234");
/** Larger than what is scanned in the loop itself. */
const LARGE = bodyOf(`the code is secret-1234 ${"x".repeat(32 * 1024)}`);

let clock: TwinClock;
let table: Table;
let policies: Map<number, CompiledPolicy>;
let grant: RowGrant;
let keyAnswer: KeyAnswer;
/** What happens while a body comes, and while one is in the inspect pool. */
let meanwhile: () => void;
let whileScanned: () => void;

beforeEach(() => {
  clock = twinClock();
  table = createTable({ rows: 2, loops: 1, scopes: 8, writers: 1, proofs: 64 });
  setOpenUntilNs(table, clock.monoNs() + 3_600_000_000_000n);
  const rows = createRowOwner(table);
  const row = rows.allot({ team: 1, agent: 2, contract: NO_CELL });
  if (row === undefined) throw new Error("the table is empty");
  grant = {
    ...row,
    keyGeneration: keyGeneration(table),
    agentId: "research/worker-1",
    keyId: "k1234567",
    contractId: undefined,
    notBeforeMs: 0,
    notAfterMs: 0,
  };
  keyAnswer = grant;
  policies = new Map([
    [1, policy()],
    [2, policy({ version: 2, content: [contentRule()] })],
    [3, policy({ version: 3 })],
  ]);
  setPolicyVersion(table, 1);
  meanwhile = () => {};
  whileScanned = () => {};
});

function bodyOf(content: string): Buffer {
  const messages = [{ role: "user", content }];
  return Buffer.from(JSON.stringify({ model: "gpt-5-mini", max_tokens: 9, messages }));
}

function exchangeWith(body: Buffer): Exchange {
  return Object.assign(new RecordedExchange(), {
    head: {
      method: "POST",
      target: "/v1/chat/completions",
      rawHeaders: ["content-type", "application/json", "authorization", `Bearer ${KEY}`],
      peer: "127.0.0.1",
    },
    readBody: () => {
      meanwhile();
      return Promise.resolve(Buffer.from(body));
    },
  });
}

/** As much of a data loop as gathering uses. */
function buildLoop(): LoopContext {
  const scanners = createPolicyScanners();
  const pool: Compute<InspectTask, BodyInspection> = {
    run: async ({ bytes, rules, depthMax }) => {
      const { request: set } = compileContentNow(JSON.parse(rules));
      const dialect = DIALECTS.openai;
      const [route] = dialect.routes as [Route];
      const pastDeadline = () => false;
      const seen = inspectBody(bytes, { dialect, route, set, depthMax, pastDeadline });
      whileScanned();
      return seen;
    },
    close: () => Promise.resolve(),
  };
  const onFault = (fault: unknown) => {
    throw fault;
  };
  const loop: Partial<LoopContext> = {
    loop: 0,
    region: "DE",
    table,
    clock,
    connections: createConnections({ clock, onFault }),
    inspector: createInspector({ clock, scanners, pool, onFault }),
    policyOf: (version) => policies.get(version),
    isDraining: () => false,
    meshLink: {
      resolveKey: () => keyAnswer,
      delegate: async () => ({ refused: "contract_unavailable" as const, detail: "" }),
      forget: () => {},
      close: () => {},
    },
    possession: new Possession({
      table,
      clock,
      verify: () => false,
      secret: new Uint8Array(32),
    }),
    controlLink: { distrustMilli: () => 0 } as unknown as LoopContext["controlLink"],
  };
  return loop as LoopContext;
}

async function refusalOf(body: Buffer) {
  const loop = buildLoop();
  const asked = await gatherHead(exchangeWith(body), loop);
  expect(decide(factsNow(asked, loop, "head")).refusal).toBeUndefined();
  await gatherBody(asked, loop);
  return decide(factsNow(asked, loop, "full")).refusal;
}

describe("a body", () => {
  test("is judged by the policy in force", async () => {
    expect(await refusalOf(SMALL)).toBeUndefined();
    setPolicyVersion(table, 2);
    expect(await refusalOf(SMALL)).toMatchObject({ reason: "content_refused", stage: 12 });
  });

  test("is scanned with the rules of the policy that came while it came", async () => {
    meanwhile = () => setPolicyVersion(table, 2);
    for (const body of [SMALL, LARGE]) {
      setPolicyVersion(table, 1);
      expect(await refusalOf(body)).toMatchObject({ reason: "content_refused", stage: 12 });
    }
  });

  test("is not let pass when other rules came while it was scanned", async () => {
    whileScanned = () => setPolicyVersion(table, 2);
    expect(await refusalOf(LARGE)).toMatchObject({ reason: "policy_changed", stage: 14 });
  });

  test("is let pass when the policy that came while it was scanned has the same rules", async () => {
    whileScanned = () => setPolicyVersion(table, 3);
    expect(await refusalOf(LARGE)).toBeUndefined();
  });
});

describe("a key", () => {
  test("that is removed while the body comes is refused", async () => {
    meanwhile = () => {
      bumpKeyGeneration(table);
      keyAnswer = "key_revoked";
    };
    expect(await refusalOf(SMALL)).toMatchObject({ reason: "key_revoked", stage: 2 });
  });

  test("stands when another one is removed", async () => {
    meanwhile = () => {
      keyAnswer = { ...grant, keyGeneration: bumpKeyGeneration(table) };
    };
    expect(await refusalOf(SMALL)).toBeUndefined();
  });

  test("of a contract that gave a part of its rate away meanwhile has what is left", async () => {
    const ids = ["c".repeat(43)];
    const contract = {
      ids,
      holders: [grant.agentId],
      person: "",
      effective: AUTHORITY,
      rate: AUTHORITY.rate,
      source: "",
      freshUntilNs: clock.monoNs() + 1_000_000_000n,
      depthLeft: 3,
    };
    keyAnswer = grant = { ...grant, contractId: ids[0], contract };
    const left = { ...AUTHORITY.rate, req: { burst: 1, amount: 1, seconds: 9 } };
    meanwhile = () => {
      keyAnswer = { ...grant, contract: { ...contract, rate: left } };
    };
    const loop = buildLoop();
    const asked = await gatherHead(exchangeWith(SMALL), loop);
    expect(factsNow(asked, loop, "head").contract).toMatchObject({ rate: AUTHORITY.rate });
    await gatherBody(asked, loop);
    expect(factsNow(asked, loop, "full").contract).toMatchObject({ rate: left });
  });

  test("that is another agent's by then is refused", async () => {
    meanwhile = () => {
      keyAnswer = { ...grant, agentId: "t/b", keyGeneration: bumpKeyGeneration(table) };
    };
    expect(await refusalOf(SMALL)).toMatchObject({ reason: "key_revoked", stage: 2 });
  });

  test("that runs out while the body comes is refused", async () => {
    keyAnswer = { ...grant, notAfterMs: clock.nowMs() + 1_000 };
    meanwhile = () => clock.advance(1_000);
    expect(await refusalOf(SMALL)).toMatchObject({ reason: "key_expired", stage: 2 });
  });
});
