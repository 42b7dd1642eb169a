// What `.ci/run` runs once the packages are there. Each check, each test and each step with the real
// daemon counts as one; the last line is the sum.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { CHECKS, runCheck } from "./checks.ts";
import { DAEMON_STEPS } from "./daemon-once.ts";
import { ROOT } from "./run-command.ts";
import { runTests } from "./run-tests.ts";

// So that ends are orderly, and what was started is ended too.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

let passed = 0;
let failed = 0;
let skipped = 0;

console.log("== checks");
for (const check of CHECKS) count(await runCheck(check));

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

function count(isGood: boolean): void {
  if (isGood) passed += 1;
  else failed += 1;
}
