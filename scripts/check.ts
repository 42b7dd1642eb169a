// All of CI that needs no server, in one command: `npm run check`.

import { CHECKS, runCheck } from "./checks.ts";
import { runTests } from "./run-tests.ts";

let passed = 0;
let failed = 0;
for (const check of CHECKS) {
  if (await runCheck(check)) passed += 1;
  else failed += 1;
}
const tests = await runTests(["test/unit", "test/tidy"]);
passed += tests.passed;
failed += tests.failed;
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
