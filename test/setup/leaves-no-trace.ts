import { afterAll, expect } from "vitest";

/**
 * Files of the `shared` project share a process. One that leaves the environment, the working folder
 * or the clock other than it found them would decide what the next file sees, so it fails itself.
 */
const found = { env: { ...process.env }, cwd: process.cwd(), now: Date.now };

afterAll(() => {
  expect(namesThatDiffer(found.env, process.env), "environment variables left changed").toEqual([]);
  expect(process.cwd(), "the working folder as the file found it").toBe(found.cwd);
  expect(Date.now, "the clock as the file found it").toBe(found.now);
});

/** Names alone: what they hold may be a key, and a failure is printed. */
function namesThatDiffer(one: NodeJS.ProcessEnv, other: NodeJS.ProcessEnv): string[] {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].filter((name) => one[name] !== other[name]);
}
