import { rmSync } from "node:fs";
import type { TestProject } from "vitest/node";

/**
 * Takes the folder of compiled sources away at the end.
 *
 * Tests start many processes, and each would otherwise spend half a second of a processor on compiling
 * the same program again. The folder is one run's own, for what is in it is executed.
 *
 * @see https://nodejs.org/api/module.html#module-compile-cache
 */
export function setup({ config }: TestProject): () => void {
  const folder = config.env.TESTS_COMPILE_CACHE;
  return () => {
    if (typeof folder === "string") rmSync(folder, { recursive: true, force: true });
  };
}
