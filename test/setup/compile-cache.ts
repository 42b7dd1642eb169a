import { mkdirSync, rmSync } from "node:fs";
import type { TestProject } from "vitest/node";

/**
 * Makes the folder of compiled sources, and takes it away at the end.
 *
 * Tests start many processes, and each would otherwise spend half a second of a processor on compiling
 * the same program again.
 *
 * @see https://nodejs.org/api/module.html#module-compile-cache
 */
export function setup({ config }: TestProject): () => void {
  const folder = config.env.NODE_COMPILE_CACHE;
  if (typeof folder !== "string") throw new Error("vitest.config.ts names no folder");
  mkdirSync(folder, { recursive: true });
  return () => rmSync(folder, { recursive: true, force: true });
}
