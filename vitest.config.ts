import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** A folder of this checkout and of this run: nobody else may put into it what our processes run. */
const COMPILED = join(import.meta.dirname, "node_modules", ".cache", `compiled-${process.pid}`);

/** Tests of parts; whatever else is a test is run as a whole. */
const PARTS = "test/{unit,contract,tidy,models}/**/*.test.ts";

export default defineConfig({
  test: {
    globalSetup: ["test/setup/nats-server.ts", "test/setup/compile-cache.ts"],
    // Where the processes that tests start find compiled what earlier ones have compiled.
    env: { TESTS_COMPILE_CACHE: COMPILED },
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "parts",
          include: [PARTS],
          // These run parts and their twins: one process runs many files, and loads the code once.
          isolate: false,
          setupFiles: ["test/setup/leaves-no-trace.ts"],
        },
      },
      {
        extends: true,
        test: {
          name: "wholes",
          include: ["test/**/*.test.ts"],
          exclude: [PARTS],
          // These start servers, threads and whole nodes: a process each keeps them apart.
          isolate: true,
        },
      },
    ],
  },
});
