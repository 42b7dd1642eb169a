import { spawnSync } from "node:child_process";

/**
 * Whether programs that `npm run tools` compiles must be here: CI is set, and there is a Go with which they
 * could have been brought. Then their absence is a failure, unless the module proxy was not reached.
 */
export function areGoProgramsRequired(): boolean {
  const { CI, ALTRACE_VERIFIERS } = process.env;
  if (CI === undefined || ALTRACE_VERIFIERS === "unreached") return false;
  return ["go", "/usr/local/go/bin/go"].some((go) => spawnSync(go, ["version"]).status === 0);
}
