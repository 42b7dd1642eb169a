import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CommandError } from "./command-context.ts";
import type { RaisedLimits } from "./write-back-plan.ts";

/** A write-back that is under way: what was asked for, and the limits that it was planned to lead to. */
export type PendingWriteBack = {
  readonly account: string;
  readonly unit: string;
  readonly amount: number;
  readonly plan: readonly RaisedLimits[];
};

/** Where it is kept until all of it is signed, so that whoever asks again goes on with the same limits. */
export function pendingPath(home: string): string {
  return join(home, "write-back.json");
}

/** @throws CommandError when the file is there and is none. */
export function readPending(home: string): PendingWriteBack | undefined {
  const path = pendingPath(home);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return parse(text);
  } catch {
    throw new CommandError(
      `${path} cannot be read: compare limits (altrace budget show), then remove it`,
    );
  }
}

export function writePending(home: string, pending: PendingWriteBack): void {
  const path = pendingPath(home);
  const text = JSON.stringify(pending, (_, value) =>
    typeof value === "bigint" ? String(value) : value,
  );
  writeFileSync(`${path}.new`, `${text}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

export function removePending(home: string): void {
  rmSync(pendingPath(home), { force: true });
}

type Written = Omit<PendingWriteBack, "plan"> & {
  readonly plan: readonly {
    readonly account: string;
    readonly limits: readonly { window: string; before: string; limit: string }[];
  }[];
};

function parse(text: string): PendingWriteBack {
  const { account, unit, amount, plan } = JSON.parse(text) as Written;
  const raised = plan.map((one) => ({
    account: one.account,
    limits: one.limits.map(({ window, before, limit }) => ({
      window,
      before: BigInt(before),
      limit: BigInt(limit),
    })),
  }));
  return { account, unit, amount, plan: raised };
}
