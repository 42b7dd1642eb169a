import type { TestProject } from "vitest/node";
import { buildOwnProgram } from "../../scripts/program/own-program.ts";
import { NODE, startProgram } from "../support/run-altrace.ts";

/**
 * Fills the folder of compiled sources beside the first tests, as the image has it filled.
 *
 * Node writes down what it has compiled when a process ends in order, and most of those that tests start are
 * killed: without this most of them would compile the program of every thread again.
 */
export async function setup({ config }: TestProject): Promise<() => Promise<void>> {
  const folder = config.env.NODE_COMPILE_CACHE;
  if (typeof folder !== "string") throw new Error("vitest.config.ts names no folder");
  // This is run before the set-up of all projects.
  await buildOwnProgram();
  const line = [NODE, "scripts/precompile.ts"];
  const filling = startProgram(line, { env: { NODE_COMPILE_CACHE: folder } });
  // Said at the end, when whoever prints is there: nothing but the tests' pace depends on it.
  return async () => {
    const { code } = await filling.ended;
    if (code !== 0) throw new Error(`precompile: exit ${code}: ${filling.stderr()}`);
  };
}
