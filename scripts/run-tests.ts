import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./run-command.ts";

export type TestCounts = {
  readonly passed: number;
  readonly failed: number;
  /** Skipped and not yet written, together. */
  readonly skipped: number;
};

const TIMEOUT_MS = 2_400_000;

/** The members of vitest's JSON report that are read here. */
type Report = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly status: "passed" | "failed";
    readonly assertionResults: readonly unknown[];
  }[];
};

/**
 * Runs the README's test command, shows what it prints and counts.
 *
 * A file that could not be loaded, an error outside of every test, a run without a report and a run
 * that saw no test each count as a failure.
 *
 * @param filters Folders or files; none: all.
 */
export async function runTests(filters: readonly string[] = []): Promise<TestCounts> {
  const folder = mkdtempSync(join(tmpdir(), "altrace-tests-"));
  const report = join(folder, "report.json");
  try {
    const { code } = await runCommand(
      "npm",
      [
        "test",
        "--silent",
        "--",
        ...filters,
        "--reporter=dot",
        "--reporter=json",
        `--outputFile.json=${report}`,
      ],
      { shown: true, timeoutMs: TIMEOUT_MS },
    );
    if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
    const counts = countsOf(JSON.parse(readFileSync(report, "utf8")));
    const nothingWasTested = counts.passed + counts.failed === 0;
    if (counts.failed === 0 && (code !== 0 || nothingWasTested)) return { ...counts, failed: 1 };
    return counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function countsOf(report: Report): TestCounts {
  const unloadable = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloadable.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
