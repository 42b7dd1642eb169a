import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  type CoordinatorIdentity,
  identityPath,
  readIdentity,
} from "../../coordinator/found-mesh.ts";
import { kidOf } from "../../mesh/kid-of.ts";
import { ARCHIVES_HERE, archived, SHIPS_AT_ONCE, verifiedArchive } from "../support/archived.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { firstAnswers } from "../support/first-answers.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { type Member, type Mesh, startMesh } from "../support/start-mesh.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const AGENT = "research/worker-1";
const OTHER = "research/worker-2";
const ACCOUNT = `agent/${AGENT}`;

let provider: Provider;
let mesh: Mesh;
/** The coordinator that was killed, once it is back. */
let restarted: Member;

beforeAll(async () => {
  provider = await startProvider();
  mesh = await startMesh({
    nodes: 1,
    coordinators: 3,
    tls: true,
    policy: e2ePolicy(provider.origin),
    nodeEnv: { ...PROVIDER_KEYS, ...SHIPS_AT_ONCE },
    coordinatorEnv: { ALTRACE_LEADER_TTL_MS: "1500", ...ARCHIVES_HERE },
  });
  await mesh.issueKey(AGENT);
  await mesh.issueKey(OTHER);
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

async function now(agent: string): Promise<string> {
  const [answer] = await firstAnswers(mesh.door("n1"), agent, { until: () => true });
  return answer ?? "none";
}

async function served(agent: string): Promise<void> {
  let said = "";
  await waitUntil(
    () => `${agent} to be served: ${said}`,
    async () => {
      said = await now(agent);
      return said === "200 ok";
    },
  );
}

type Row = { readonly account: string; readonly unit: string; readonly limit: string } & {
  readonly [amount in "available" | "reserved" | "spent" | "children"]: string;
};

/** The agent's dollars as the leader has them; undefined where this one does not lead. */
async function ledgerAt(member: Member): Promise<Row | undefined> {
  const { code, stdout, stderr } = await mesh.cliVia(member, "budget", "show", ACCOUNT, "--json");
  if (code !== 0) {
    expect(stderr).toMatch(/not_leader|UNAVAILABLE|unavailable/);
    return undefined;
  }
  const { accounts } = JSON.parse(stdout) as { readonly accounts: readonly Row[] };
  return accounts.find(({ unit }) => unit === "USD_MICROS" || String(unit) === "1");
}

async function leaderOf(members: readonly Member[]): Promise<{ leader: Member; row: Row }> {
  const found = await waitUntil("a coordinator to lead the ledger", async () => {
    for (const member of members) {
      const row = await ledgerAt(member);
      if (row !== undefined) return { leader: member, row };
    }
    return undefined;
  });
  return found as { leader: Member; row: Row };
}

/** On a busy machine a lease may run out between two renewals, and nobody leads for a moment. */
async function oneLends(): Promise<void> {
  await waitUntil("one of them alone to lead the ledger", async () => {
    const rows = await Promise.all(mesh.coordinators.map(ledgerAt));
    return rows.filter((row) => row !== undefined).length === 1;
  });
}

function adds({ limit, available, reserved, spent, children }: Row): void {
  const sum = [available, reserved, spent, children].reduce((all, one) => all + Number(one), 0);
  expect(sum).toBe(Number(limit));
}

describe("three coordinators over a real nats-server, all of it over TLS", () => {
  test("are followed by every node, and one of them lends", async () => {
    await served(AGENT);
    await oneLends();
    const keys = await mesh.mustCli("trust", "list");
    expect(keys.match(/^\S+ +coordinator /gm)).toHaveLength(3);
  });

  test("keep the newest checkpoints of one another's own logs", async () => {
    for (const member of mesh.coordinators) {
      const others = mesh.coordinators.filter((one) => one !== member).map(({ name }) => name);
      await waitUntil(`${member.name} to have heard of the others' logs`, async () => {
        const { stdout } = await mesh.cliVia(member, "audit", "logs", "--json");
        const { coordinators } = JSON.parse(stdout) as {
          readonly coordinators: readonly { readonly origin: string; readonly size: string }[];
        };
        const heard = coordinators.map(({ origin }) => origin.split("/").at(-2));
        return heard.toSorted().join() === others.toSorted().join();
      });
    }
  });

  test("when the one that lends is killed, nodes stay open and another lends on from the same books", async () => {
    const { leader, row: before } = await leaderOf(mesh.coordinators);
    adds(before);
    await leader.process?.end("SIGKILL");
    const others = mesh.coordinators.filter((one) => one !== leader);
    // Money that was lent is spent meanwhile, and nobody closes.
    expect(await now(AGENT)).toBe("200 ok");
    const { leader: next, row: after } = await leaderOf(others);
    expect(next.name).not.toBe(leader.name);
    adds(after);
    expect(Number(after.reserved) + Number(after.spent)).toBeGreaterThanOrEqual(
      Number(before.reserved) + Number(before.spent),
    );
    // An agent that has nothing yet gets it from the new one.
    await served(OTHER);
    expect(await mesh.readiness(mesh.node("n1"))).toMatch(/^200 /);
  });

  test("any of them kills, and it holds; the operator's key revives through any", async () => {
    const live = mesh.coordinators.filter((one) => one.process?.isRunning());
    expect(live).toHaveLength(2);
    const [first, second] = live as [Member, Member];
    // Neither call is made on the coordinators' machine; who may only look takes nothing away.
    const refused = await mesh.cliOverTls(first, "viewer", "kill", ACCOUNT);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("role") });
    expect(await now(AGENT)).toBe("200 ok");
    expect((await mesh.cliOverTls(first, "operator", "kill", ACCOUNT, "--wait")).code).toBe(0);
    expect(await now(AGENT)).toBe("403 killed_agent");
    expect((await mesh.cliOverTls(second, "viewer", "kills")).stdout).toContain(ACCOUNT);
    const revived = await mesh.cliVia(second, "revive", ACCOUNT, "--wait");
    expect(revived.stderr + revived.stdout).toContain("durable 1/1");
    await served(AGENT);
  });

  test("a revoked certificate is refused by every one of them and by the node, also after a restart", async () => {
    const live = mesh.coordinators.filter((one) => one.process?.isRunning());
    const identity = await mesh.identity("operator");
    const lost = (...words: string[]) => mesh.cli(...words, "--identity", identity);
    const atNode = () => lost("holds", "--node-address", mesh.node("n1").grpc);
    const at = ({ grpc }: Member) => lost("kills", "--coordinator", grpc);
    expect((await atNode()).code).toBe(0);
    const [first] = live as [Member];
    const revoked = await mesh.cliVia(
      first,
      ...["certificate", "revoke", join(identity, "cert.pem"), "--reason", "lost", "--wait"],
    );
    expect(revoked).toMatchObject({ code: 0, stdout: expect.stringContaining("durable 1/1") });
    restarted = mesh.coordinators.find((one) => !one.process?.isRunning()) as Member;
    mesh.launch(restarted);
    await mesh.whenReady();
    for (const refused of [...(await Promise.all(mesh.coordinators.map(at))), await atNode()]) {
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("revoked") });
    }
    expect((await mesh.cliOverTls(first, "operator", "kills")).stdout).toContain("certificate/");
    const own = await runHere(
      ...["audit", "query", "--own", "--denied", "--json", "--home", first.home],
    );
    const reasons = (JSON.parse(own.stdout).records as { rc: string }[]).map(({ rc }) => rc);
    expect(reasons).toEqual(expect.arrayContaining(["certificate_revoked"]));
  });

  test("the one that was killed comes back, follows, and knows the same", async () => {
    await oneLends();
    let said = "";
    await waitUntil(
      () => `the node's heartbeats: ${said}`,
      async () => {
        said = (await mesh.cliVia(restarted, "nodes")).stdout;
        return /^n1 +live +open/m.test(said);
      },
    );
  });

  test("each has the whole log of the node, also what was written while it was gone", async () => {
    const refused = await fetch(`${mesh.node("n1").gateway}/v1/models`);
    await refused.text();
    for (const { home } of mesh.coordinators) {
      await archived(home, refused.headers.get("x-request-id") ?? "");
      expect(await verifiedArchive(home)).toHaveLength(1);
    }
  });

  test("when the one that lends is trusted no more, another lends on, and what it had lent stays lent", async () => {
    const { leader, row: before } = await leaderOf(mesh.coordinators);
    const identity = readIdentity(readFileSync(identityPath(leader.home), "utf8"));
    const kid = kidOf((identity as CoordinatorIdentity).coordinator);
    const others = mesh.coordinators.filter((one) => one !== leader);
    const removed = await mesh.cliVia(others[0] as Member, "trust", "remove", kid);
    expect(removed.stdout).toContain("the mesh has 2 coordinators");
    const { row: after } = await leaderOf(others);
    adds(after);
    expect(Number(after.reserved) + Number(after.spent)).toBeGreaterThanOrEqual(
      Number(before.reserved) + Number(before.spent),
    );
    expect(await mesh.mustCli("trust", "list")).toMatch(`${kid}  coordinator (removed)`);
  });
});
