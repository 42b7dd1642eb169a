import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/setup/nats-server.ts", "test/setup/compile-cache.ts"],
    // Where the processes that tests start find compiled what earlier ones have compiled.
    env: { TESTS_COMPILE_CACHE: mkdtempSync(join(tmpdir(), "altrace-compiled-")) },
    // Tests start servers, worker threads and whole nodes: a process each keeps them apart.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
