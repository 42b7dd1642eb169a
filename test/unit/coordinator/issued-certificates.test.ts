import { appendFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  IssuedCertificates,
  issuedLine,
} from "../../../coordinator/operations/issued-certificates.ts";
import type { NotedCall } from "../../../coordinator/operations/recorded-calls.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import { tempDir } from "../../support/temp-dir.ts";

const lineOf = (name: string) =>
  issuedLine({
    name,
    role: "viewer",
    fingerprint: "ab".repeat(32),
    issuedAtMs: 1,
    notAfterMs: 2,
  });

function world(dir: string) {
  const path = join(dir, "certificates.jsonl");
  const store = twinStore({});
  const noted: NotedCall[] = [];
  const faults: unknown[] = [];
  const state: { fault: string | undefined } = { fault: undefined };
  const start = () =>
    new IssuedCertificates({
      path,
      store,
      note: async (call) => {
        if (state.fault === undefined) noted.push(call);
        return state.fault;
      },
      onFault: (error) => faults.push(error),
    });
  return { path, noted, faults, state, start, names: () => noted.map(({ who, rc }) => who ?? rc) };
}

test("each issued certificate is noted once, in its order, also over a restart", async () => {
  using dir = tempDir();
  const { path, noted, start, names } = world(dir.path);
  const issued = start();
  await issued.look();
  appendFileSync(path, lineOf("alice") + lineOf("bob"));
  await issued.look();
  await issued.look();
  // Half a line is one that is being written.
  appendFileSync(path, lineOf("carol").slice(0, 20));
  await start().look();
  appendFileSync(path, lineOf("carol").slice(20));
  await start().look();
  expect(names()).toEqual(["alice", "bob", "carol"]);
  expect(noted[0]).toEqual({
    op: "issue_certificate",
    rc: "ok",
    via: "home",
    who: "alice",
    role: "viewer",
    crt: "ab".repeat(32),
  });
});

test("what could not be written down is noted by a later look", async () => {
  using dir = tempDir();
  const { path, state, start, names } = world(dir.path);
  writeFileSync(path, lineOf("alice"));
  state.fault = "the disk is full";
  const issued = start();
  await issued.look();
  state.fault = undefined;
  await issued.look();
  expect(names()).toEqual(["alice"]);
});

test("a line that nobody wrote is noted as such, and hides none behind it", async () => {
  using dir = tempDir();
  const { path, start, names } = world(dir.path);
  writeFileSync(path, Buffer.concat([Buffer.from([0xff, 0xc3, 0x0a]), Buffer.from(lineOf("bob"))]));
  await start().look();
  expect(names()).toEqual(["malformed", "bob"]);
});

test("a list that began anew is read from its beginning", async () => {
  using dir = tempDir();
  const { path, start, names } = world(dir.path);
  writeFileSync(path, lineOf("alice") + lineOf("bob"));
  await start().look();
  writeFileSync(path, lineOf("carol"));
  await start().look();
  expect(names()).toEqual(["alice", "bob", "carol"]);
});

test("a list that cannot be read is told of once, and ends nothing", async () => {
  using dir = tempDir();
  const { path, start, faults, names } = world(dir.path);
  mkdirSync(path);
  const issued = start();
  await issued.look();
  await issued.look();
  expect(faults).toHaveLength(1);
  rmSync(path, { recursive: true });
  writeFileSync(path, lineOf("alice"));
  await issued.look();
  expect(names()).toEqual(["alice"]);
});
