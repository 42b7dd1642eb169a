import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { freePortBase } from "../../bench/harness/free-ports.ts";
import { FREE_BYTES_MIN } from "../../node/audit/disk-room.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { Altrace, startAltrace } from "../support/start-altrace.ts";
import { startProvider } from "../support/start-provider.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

async function ask(altrace: Altrace): Promise<string> {
  const answer = await fetch(`${altrace.gateway}/v1/models`, {
    headers: { authorization: `Bearer ${altrace.key("research/worker-1")}` },
  });
  await answer.text();
  return answer.headers.get("x-altrace-reason") ?? String(answer.status);
}

test("a node whose disk is full allows nothing, and goes on by itself once there is room", async (context) => {
  using folder = tempDir();
  const home = join(folder.path, "h");
  mkdirSync(home);
  try {
    const options = ["-t", "tmpfs", "-o", "size=256m,mode=0700", "tmpfs", home];
    execFileSync("mount", options, { stdio: "ignore" });
  } catch {
    context.skip("a small file system can be mounted by root alone");
  }
  chmodSync(home, 0o700);
  try {
    await using provider = await startProvider();
    const altrace = new Altrace({
      home,
      portBase: await freePortBase(),
      policy: e2ePolicy(provider.origin),
      env: { ...PROVIDER_KEYS, ALTRACE_AUDIT_RESERVE_MIB: "64" },
    });
    try {
      await altrace.start();
      expect(await ask(altrace)).toBe("200");
      const { bavail, bsize } = statfsSync(home);
      const mib = Math.ceil((bavail * bsize - FREE_BYTES_MIN) / 1024 / 1024) + 2;
      const filling = join(home, "filling");
      execFileSync("dd", ["if=/dev/zero", `of=${filling}`, "bs=1M", `count=${mib}`], {
        stdio: "ignore",
      });
      await waitUntil("a refusal", async () => (await ask(altrace)) === "audit_unavailable");
      const ready = await fetch(altrace.ready.metrics.replace("/metrics", "/readyz"));
      expect([ready.status, await ready.text()]).toEqual([
        503,
        expect.stringContaining("audit_unavailable"),
      ]);
      rmSync(filling);
      await waitUntil("an answer", async () => (await ask(altrace)) === "200");
      expect(altrace.process.isRunning()).toBe(true);
      await waitUntil("a whole log", async () => {
        const { code } = await altrace.cli("audit", "verify");
        return code === 0;
      });
    } finally {
      await altrace.process.end("SIGKILL");
    }
  } finally {
    execFileSync("umount", [home], { stdio: "ignore" });
    rmSync(`${home}-policy.yaml`, { force: true });
  }
});

test("a node whose writes fail says so before it is asked, and again when they do not", async (context) => {
  await using provider = await startProvider();
  await using altrace = await startAltrace({
    policy: e2ePolicy(provider.origin),
    env: { ...PROVIDER_KEYS, ALTRACE_LOOPS: "2" },
  });
  const limit = (bytes: string): void => {
    execFileSync("prlimit", ["--pid", String(altrace.process.pid), `--fsize=${bytes}:unlimited`]);
  };
  try {
    limit("unlimited");
  } catch {
    context.skip("prlimit sets how long a file may become");
  }
  const readiness = async (): Promise<string> => {
    const ready = await fetch(altrace.ready.metrics.replace("/metrics", "/readyz"));
    return `${ready.status} ${(await ready.text()).trim()}`;
  };
  expect(await ask(altrace)).toBe("200");
  expect(await readiness()).toBe("200 ok");
  // What any file would become longer by is refused, as on a disk that became read-only.
  limit("1");
  expect(await ask(altrace)).toBe("audit_unavailable");
  expect(await readiness()).toContain("503 audit_unavailable");
  limit("unlimited");
  // No request comes to a node that is not ready.
  await waitUntil("the node to be ready", async () => (await readiness()) === "200 ok");
  expect(await ask(altrace)).toBe("200");
  expect(altrace.process.isRunning()).toBe(true);
  await waitUntil("a whole log", async () => {
    const { code } = await altrace.cli("audit", "verify");
    return code === 0;
  });
});
