import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { kernelUnavailable } from "../support/kernel-lab.ts";
import { pidsIn, sweepLeftLabs } from "../support/left-labs.ts";
import { waitUntil } from "../support/wait-until.ts";

const unavailable = kernelUnavailable();

/** A namespace with a program in it, and a folder, as a run of that process would have made them. */
class Lab implements Disposable {
  readonly namespace: string;
  readonly folder: string;
  readonly program: ChildProcess;

  constructor(maker: number) {
    this.namespace = `alt${maker}x77777-node`;
    this.folder = join(tmpdir(), `alt-lab-${maker}-x77777`);
    mkdirSync(this.folder);
    spawnSync("ip", ["netns", "add", this.namespace]);
    this.program = spawn("ip", ["netns", "exec", this.namespace, "sleep", "60"]);
  }

  [Symbol.dispose](): void {
    this.program.kill("SIGKILL");
    spawnSync("ip", ["netns", "del", this.namespace]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test.skipIf(unavailable !== undefined)(
  "what a run left that was killed is taken away, and what another one uses is not",
  async () => {
    const run = spawn("sleep", ["60"]);
    using left = new Lab(run.pid as number);
    using used = new Lab(process.pid);
    for (const { namespace } of [left, used])
      await waitUntil("a program in it", () => pidsIn(namespace).length === 1);
    const ended = once(left.program, "exit");
    sweepLeftLabs();
    expect(pidsIn(left.namespace), "its run goes on").toHaveLength(1);
    run.kill("SIGKILL");
    await once(run, "exit");
    sweepLeftLabs();
    expect(await ended).toEqual([null, "SIGKILL"]);
    await waitUntil("its namespace to be gone", () => !existsSync(`/run/netns/${left.namespace}`));
    expect([left, used].map(({ folder }) => existsSync(folder))).toEqual([false, true]);
    expect(pidsIn(used.namespace)).toEqual([used.program.pid]);
  },
);
