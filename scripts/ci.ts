// What `.ci/run` runs once the packages are there. Each check, each test and each step with the real
// daemon counts as one; the last line is the sum.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { bringTools, ProxyUnreached, VERIFIERS } from "./bring-tools.ts";
import { CHECKS, runCheck } from "./checks.ts";
import { DAEMON_STEPS } from "./daemon-once.ts";
import { findGo, goHere } from "./go-toolchain.ts";
import { ROOT } from "./run-command.ts";
import { runTests } from "./run-tests.ts";

// So that ends are orderly, and what was started is ended too.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

let passed = 0;
let failed = 0;
let skipped = 0;

console.log("== checks");
for (const check of CHECKS) count(await runCheck(check));

console.log("\n== verifiers of others");
await bringVerifiers();

console.log("\n== npm test");
const tests = await runTests();
passed += tests.passed;
failed += tests.failed;
skipped += tests.skipped;

console.log("\n== the daemon");
for (const step of DAEMON_STEPS) count(await runCheck(step));

if (!existsSync(join(ROOT, ".tools", "bin", "k6"))) {
  skipped += 1;
  console.log("\nskipped: k6's outside view of the benches; `npm run tools` brings k6");
}

console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/**
 * Where there is Go, what others verify a log with is compiled; where the machine has no kustomize or
 * kubectl, kustomize is, and a Go is brought for it if there is none: overlays are built in every CI. What
 * cannot be had from here is not brought, and its tests say so themselves.
 */
async function bringVerifiers(): Promise<void> {
  const go = await goHere({ ownOnly: false });
  if (go === undefined) console.log("there is no Go here: verifiers' tests are skipped");
  const ofManifests = hasKustomize() ? [] : ["kustomize"];
  const ofLogs = go === undefined ? [] : [...VERIFIERS, "nats-server"];
  try {
    await bringTools({ go: () => findGo({ ownOnly: false }), names: [...ofLogs, ...ofManifests] });
  } catch (error) {
    if (error instanceof ProxyUnreached) process.env.ALTRACE_VERIFIERS = "unreached";
    else failed += 1;
    console.log(error instanceof Error ? error.message : error);
  }
}

/** A machine's own is as good, and ours takes a minute to compile. */
function hasKustomize(): boolean {
  return ["kustomize", "kubectl"].some((program) => {
    const { error } = spawnSync(program, ["version", "--client"], { stdio: "ignore" });
    return error === undefined;
  });
}

function count(isGood: boolean): void {
  if (isGood) passed += 1;
  else failed += 1;
}
