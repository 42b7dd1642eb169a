import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { archiveOf } from "../../../coordinator/archive/archive-link.ts";
import type { FromArchive } from "../../../coordinator/archive/archive-worker.ts";
import type { CoordinatorConfig } from "../../../coordinator/config.ts";
import type { PreparedThread } from "../../../ports/prepared-thread.ts";

/** A link to a thread that says what the test has it say. */
function linked() {
  const worker = Object.assign(new EventEmitter(), { postMessage: () => undefined });
  const thread = { worker, begin: () => undefined } as unknown as PreparedThread;
  const config = { home: "/home", replicaId: "r1" } as CoordinatorConfig;
  const retired: string[] = [];
  const told = {
    onLost: () => undefined,
    onRetired: (origin: string) => retired.push(origin),
    onOutside: () => undefined,
  };
  const open = archiveOf(config, () => () => undefined, thread);
  const link = open({ witnessVkey: "", mesh: "m", logs: [] }, told);
  return { link, retired, say: (message: FromArchive) => worker.emit("message", message) };
}

test("what was cosigned outside of a log is known until the log is retired", () => {
  const { link, retired, say } = linked();
  const origin = "altrace.dev/audit/m/n1/e1";
  expect(link.witnessed(origin)).toBeUndefined();
  say({ t: "witnessed", origin, size: 7, note: "first" });
  say({ t: "witnessed", origin, size: 9, note: "second" });
  expect(link.witnessed(origin)).toMatchObject({ size: 9, note: "second" });
  say({ t: "retired", origin, fault: "the disk is full" });
  expect(link.witnessed(origin)).toMatchObject({ size: 9 });
  say({ t: "retired", origin });
  expect(link.witnessed(origin)).toBeUndefined();
  expect(retired).toEqual([origin, origin]);
});
