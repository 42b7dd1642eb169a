import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** A folder of this checkout and of this run: nobody else may put into it what our processes run. */
const COMPILED = join(import.meta.dirname, "node_modules", ".cache", `compiled-${process.pid}`);

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/setup/nats-server.ts", "test/setup/compile-cache.ts"],
    // Where the processes that tests start find compiled what earlier ones have compiled.
    env: { TESTS_COMPILE_CACHE: COMPILED },
    // Tests start servers, worker threads and whole nodes: a process each keeps them apart.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
