import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { freePortBase } from "../../bench/harness/free-ports.ts";
import { startProcess } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";

/**
 * Fills the folder of compiled sources beside the first tests.
 *
 * Node writes down what it has compiled when a process ends in order, and most of those that tests start are
 * killed: without this most of them would compile the program of every thread again.
 */
export function setup({ config }: TestProject): () => Promise<void> {
  const folder = config.env.TESTS_COMPILE_CACHE;
  if (typeof folder !== "string") throw new Error("vitest.config.ts names no folder");
  const filled = fill(folder);
  // Said at the end, when whoever prints is there; tests that need the program have failed by then.
  filled.catch(() => undefined);
  return () => filled;
}

async function fill(folder: string): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "altc-"));
  const words = ["up", "--json", "--home", home, "--port-base", String(await freePortBase())];
  const started = startProcess(words, { env: { NODE_COMPILE_CACHE: folder } });
  try {
    await waitUntil(
      () => `altrace up to get ready:\n${started.stdout()}${started.stderr()}`,
      () => !started.isRunning() || started.stdout().includes('"ready":true'),
    );
  } finally {
    await started.end("SIGTERM");
    rmSync(home, { recursive: true, force: true });
  }
}
