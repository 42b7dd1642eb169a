import { readFileSync } from "node:fs";

const LIMITS_FILE = "/proc/self/limits";
const SOFT_LIMIT = /^Max open files\s+(\d+|unlimited)/m;

/**
 * The process's soft limit of open files, which caps how many connections may be admitted.
 *
 * @returns `Infinity` for no limit, `undefined` where the system does not say.
 */
export function openFilesMax(): number | undefined {
  const soft = SOFT_LIMIT.exec(limitsText())?.[1] ?? softLimitOfReport();
  if (soft === undefined) return undefined;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

function limitsText(): string {
  try {
    return readFileSync(LIMITS_FILE, "utf8");
  } catch (error) {
    // Only Linux has the file.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

type DiagnosticReport = { userLimits?: { open_files?: { soft?: number | string } } };

function softLimitOfReport(): string | undefined {
  const reporter = process.report as typeof process.report & { excludeNetwork?: boolean };
  // Naming the network's interfaces would look up the names of all peers, which may take minutes.
  reporter.excludeNetwork = true;
  const report = reporter.getReport() as unknown as DiagnosticReport;
  const soft = report.userLimits?.open_files?.soft;
  return soft === undefined ? undefined : String(soft);
}
