import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { identityPath, readIdentity } from "../../coordinator/found-mesh.ts";
import { kidOf } from "../../mesh/kid-of.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { firstAnswers } from "../support/first-answers.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { type Member, type Mesh, startMesh } from "../support/start-mesh.ts";
import { type Provider, startProvider } from "../support/start-provider.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

/** Whom nothing here concerns; it has no rate, whose shares move between nodes. */
const AGENT = "support/triage";
const TEAM = "team/research";

let provider: Provider;
let mesh: Mesh;

beforeAll(async () => {
  provider = await startProvider();
  mesh = await startMesh({
    nodes: 2,
    coordinators: 3,
    policy: e2ePolicy(provider.origin),
    nodeEnv: PROVIDER_KEYS,
    coordinatorEnv: { ALTRACE_LEADER_TTL_MS: "1500" },
  });
  await mesh.issueKey(AGENT);
  for (const { name } of mesh.nodes) await served(name);
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await provider?.[Symbol.asyncDispose]();
});

async function served(node: string): Promise<void> {
  const answers = await firstAnswers(mesh.door(node), AGENT, { until: (one) => one === "200 ok" });
  expect(answers.at(-1)).toBe("200 ok");
}

/** What an agent on n1 is answered as long as `during` takes. */
async function meanwhile(during: () => Promise<void>): Promise<readonly string[]> {
  let isOver = false;
  const asked = firstAnswers(mesh.door("n1"), AGENT, { until: () => isOver, mayDiffer: true });
  await during().finally(() => {
    isOver = true;
  });
  return [...new Set(await asked)];
}

/** Kills somebody and waits for it: every node acknowledges under the key that it now has. */
async function allAcknowledge(): Promise<void> {
  expect(await mesh.mustCli("kill", TEAM, "--wait")).toContain("durable 2/2");
  expect(await mesh.mustCli("revive", TEAM, "--wait")).toContain("durable 2/2");
}

/** The public key in a HOME, as whoever sits there says it. */
async function keyIn(home: string, ...words: string[]): Promise<string> {
  const { stdout } = await runHere("trust", "key", ...words, "--home", home);
  expect(stdout).toMatch(/^[0-9a-f]{64}\n$/);
  return stdout.trim();
}

const kidOfHex = (hex: string) => kidOf(Buffer.from(hex, "hex"));

describe("while agents are served", () => {
  test("an operator's key is replaced by another, and both count until the first is removed", async () => {
    using folder = tempDir();
    const operator = async (name: string) => {
      const home = join(folder.path, name);
      mkdirSync(home, { mode: 0o700 });
      copyFileSync(join(mesh.coordinator.home, "trust.json"), join(home, "trust.json"));
      const hex = await keyIn(home, "operator");
      await mesh.mustCli("trust", "add", `operator=${hex}`);
      const at = `unix:${join(mesh.coordinator.home, "coordinator.sock")}`;
      const act = (...words: string[]) => runHere(...words, "--home", home, "--coordinator", at);
      return { kid: kidOfHex(hex), act };
    };
    const said = await meanwhile(async () => {
      const alice = await operator("alice");
      await mesh.mustCli("kill", TEAM, "--wait");
      expect((await alice.act("revive", TEAM, "--wait")).stdout).toContain("durable 2/2");
      const bob = await operator("bob");
      expect((await alice.act("key", "issue", "research/worker-1")).code).toBe(0);
      const removed = await mesh.mustCli("trust", "remove", alice.kid);
      // What she signed stands, under the key of whoever removed her, who is shown all of it.
      expect(removed).toMatch(/^[1-9]\d* records renewed$/m);
      expect(removed).toMatch(/^team\/research: revive$/m);
      expect(removed).toMatch(/^key\/\S+: key of research\/worker-1$/m);
      await mesh.mustCli("kill", TEAM, "--wait");
      const refused = await alice.act("revive", TEAM);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("key_unknown") });
      expect((await bob.act("revive", TEAM, "--wait")).stdout).toContain("durable 2/2");
      // A listed key is not the one that says who is trusted.
      expect((await bob.act("trust", "remove", alice.kid)).code).toBe(1);
    });
    expect(said).toEqual(["200 ok"]);
    const { stdout } = await runHere("trust", "key", "operator", "--home", mesh.coordinator.home);
    const pinned = await mesh.cli("trust", "remove", kidOfHex(stdout.trim()));
    expect(pinned).toMatchObject({ code: 1, stderr: expect.stringContaining("pins") });
  });

  test("a node takes its next key without a restart, and has it after one", async () => {
    const { home } = mesh.node("n1");
    const before = await keyIn(home, "node");
    const next = await keyIn(home, "node", "--next");
    expect(await keyIn(home, "node", "--next")).not.toBe(before);
    const said = await meanwhile(async () => {
      const named = await mesh.mustCli("trust", "add", `node/n1=${next}`);
      expect(named).toContain(`which ${kidOfHex(before)} is no more`);
      await allAcknowledge();
      await isLive("n1");
    });
    expect(said).toEqual(["200 ok"]);
    await mesh.node("n1").process?.end("SIGTERM");
    mesh.launch(mesh.node("n1"));
    await mesh.whenReady();
    await served("n1");
    await allAcknowledge();
  });

  test.each(["c3", "c2"])(
    "coordinator %s takes new keys, and nobody is refused for it",
    async (name) => {
      const member = mesh.coordinators.find((one) => one.name === name) as Member;
      const before = identityOf(member);
      const said = await meanwhile(async () => {
        await member.process?.end("SIGTERM");
        for (const key of [before.coordinator, before.enrolment]) {
          await mesh.mustCli("trust", "remove", kidOf(key));
        }
        rmSync(member.home, { recursive: true });
        mkdirSync(member.home, { mode: 0o700 });
        await mesh.join(member);
        await allAcknowledge();
      });
      expect(said).toEqual(["200 ok"]);
      expect(kidOf(identityOf(member).coordinator)).not.toBe(kidOf(before.coordinator));
      const listed = await mesh.mustCli("trust", "list");
      expect(listed.match(/^\S+ +coordinator +[0-9a-f]{64}$/gm)).toHaveLength(3);
    },
  );
});

describe("a machine", () => {
  test.each(["", " again"])(
    "whose disk is lost%s comes back under its name once an operator names its new key",
    async (again) => {
      const node = mesh.node("n2");
      await node.process?.end("SIGKILL");
      rmSync(node.home, { recursive: true });
      mkdirSync(node.home, { mode: 0o700 });
      mesh.launch(node);
      await waitUntil("it to say that nobody knows its key", async () =>
        /^503 .*not_enrolled/.test(await mesh.readiness(node)),
      );
      await mesh.mustCli("trust", "add", `node/n2=${await keyIn(node.home, "node")}`);
      // The log of that name is the one that the coordinators have of the disk that is lost: whatever starts the node
      // again has it write the next, behind all that they have.
      expect(await node.process?.ended).toEqual({ code: 1, signal: null });
      expect(node.process?.stdout()).toContain("another history of this log");
      mesh.launch(node);
      await mesh.whenReady();
      await served("n2");
      await allAcknowledge();
      const next = again === "" ? /n2\/e2 .* cosigned / : /n2\/e3 .* cosigned /;
      await waitUntil("its next log to be cosigned", async () =>
        next.test(await mesh.mustCli("audit", "logs")),
      );
      expect(await mesh.mustCli("audit", "logs")).toMatch(/n2\/e1 .* cosigned /);
    },
  );

  test("that was removed comes back in the same way, and by no token", async () => {
    const node = mesh.node("n2");
    const key = await keyIn(node.home, "node");
    await mesh.mustCli("trust", "remove", "node/n2");
    await waitUntil("it to close", async () =>
      /^503 .*node_removed/.test(await mesh.readiness(node)),
    );
    expect((await mesh.cli("token", "n2")).stderr).toContain("already_enrolled");
    await mesh.mustCli("trust", "add", `node/n2=${key}`);
    await mesh.whenReady();
    await served("n2");
    await allAcknowledge();
  });
});

async function isLive(node: string): Promise<void> {
  await waitUntil(`the heartbeats of ${node}`, async () =>
    new RegExp(`^${node} +live +open +in sync `, "m").test(await mesh.mustCli("nodes")),
  );
}

function identityOf({ home }: Member) {
  const read = readIdentity(readFileSync(identityPath(home), "utf8"));
  if (read === undefined) throw new Error(`${home} holds no coordinator's identity`);
  return read;
}
