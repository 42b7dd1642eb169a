import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** A folder of this checkout and of this run: nobody else may put into it what our processes run. */
const COMPILED = join(import.meta.dirname, "node_modules", ".cache", `compiled-${process.pid}`);

/** What works in the tests' own process. */
const UNITS = "test/{unit,tidy,models}/**/*.test.ts";
/** What starts processes and servers, and waits for them. */
const SERVERS = "test/{contract,e2e,fault,kernel}/**/*.test.ts";

/** Files that share processes, and with them the code that was loaded: they leave no trace there. */
const SHARED = { isolate: false, setupFiles: ["test/setup/leaves-no-trace.ts"] };

export default defineConfig({
  test: {
    globalSetup: ["nats-server", "kernel-programs", "built-program", "compile-cache"].map(
      (name) => `test/setup/${name}.ts`,
    ),
    // Where the processes and the threads that tests start find compiled what earlier ones have compiled.
    env: { NODE_COMPILE_CACHE: COMPILED },
    pool: "forks",
    // Twice what a small machine has of processors: tests of whole meshes wait more than they run.
    maxWorkers: 4,
    // Ends what hangs. `npm run proof` has it longer: what counts to 100,000 takes minutes.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // As `comesTrue` has it: what is waited for may take longer than a second on a busy machine.
    expect: { poll: { timeout: 20_000, interval: 10 } },
    projects: [
      { extends: true, test: { ...SHARED, name: "servers", include: [SERVERS] } },
      {
        extends: true,
        test: {
          ...SHARED,
          name: "units",
          include: [UNITS],
          // They run more than they wait, and each further process loads all the code once more.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          // Simulated worlds and counted coverage want a process of their own.
          name: "alone",
          include: ["test/**/*.test.ts"],
          exclude: [SERVERS, UNITS],
          // Here, since this project begins a run of everything.
          globalSetup: ["test/setup/compile-first.ts"],
          isolate: true,
        },
      },
    ],
  },
});
