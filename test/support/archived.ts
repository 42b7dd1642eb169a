import { expect } from "vitest";
import { runHere } from "./run-here.ts";
import { waitUntil } from "./wait-until.ts";

/** Settings of a node that ships at once, and of a coordinator that takes it from a small disk. */
export const SHIPS_AT_ONCE = { ALTRACE_AUDIT_SHIP_MS: "100" } as const;
export const ARCHIVES_HERE = { ALTRACE_ARCHIVE_RESERVE_MIB: "64" } as const;

/** Asks the archive of a coordinator with this HOME. */
export function askArchive(home: string, ...words: string[]) {
  return runHere("audit", ...words, "--archive", "--json", "--home", home);
}

/** Until the archive has the record of a request, with a checkpoint over it. */
export async function archived(home: string, request: string): Promise<void> {
  await waitUntil(`${request} in the archive`, async () => {
    const { code, stdout } = await askArchive(home, "query", "--request", request);
    return code === 0 && JSON.parse(stdout).records.length > 0;
  });
}

/** All logs of a coordinator's archive, which must be without a finding. */
export async function verifiedArchive(home: string) {
  const verified = await askArchive(home, "verify");
  expect(verified).toMatchObject({ code: 0, stderr: "" });
  const answer = JSON.parse(verified.stdout) as {
    readonly missing_logs: readonly string[];
    readonly listed_logs: number;
    readonly logs: readonly { readonly origin: string; readonly cosigned_by: readonly string[] }[];
  };
  expect(answer.missing_logs).toEqual([]);
  // The coordinator's own log, in which they are listed, is verified with them.
  const isOwn = ({ origin }: { readonly origin: string }) => origin.includes("/coordinator/");
  expect(answer.logs.filter(isOwn)).toHaveLength(1);
  const nodes = answer.logs.filter((log) => !isOwn(log));
  expect(answer.listed_logs).toBe(nodes.length);
  return nodes;
}
