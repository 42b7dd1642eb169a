import { cpSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { startWitnessServer } from "../../adapters/witness-server.ts";
import { encodeVkey, parseVkey } from "../../audit/signed-note.ts";
import { ADD_CHECKPOINT_BYTES_MAX } from "../../audit/witness.ts";
import { Witness, witnessKey } from "../../coordinator/witness.ts";
import { twinKeys } from "../../ports/twin-keys.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { twinStore } from "../../ports/twin-store.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import {
  ARCHIVES_HERE,
  archived,
  askArchive,
  SHIPS_AT_ONCE,
  verifiedArchive,
} from "../support/archived.ts";
import { e2ePolicy, PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { type Altrace, startAltrace } from "../support/start-altrace.ts";
import { startProvider } from "../support/start-provider.ts";
import { stopProcess } from "../support/stop-process.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

async function logsOf(altrace: Altrace) {
  const path = join(altrace.home, "coordinator.sock");
  const client = createGrpcClient(CoordinatorService, { kind: "unix", path });
  try {
    return (await client.calls.listLogs({})).logs;
  } finally {
    client.close();
  }
}

async function witnessedSize(altrace: Altrace): Promise<number> {
  return Number((await logsOf(altrace))[0]?.size ?? 0);
}

async function refuse(altrace: Altrace): Promise<string> {
  const answer = await fetch(`${altrace.gateway}/v1/models`);
  await answer.text();
  return answer.headers.get("x-request-id") ?? "";
}

test("a log that was put back is seen by the witness, is closed, and the next one quotes it", async () => {
  await using provider = await startProvider();
  using auditor = tempDir();
  await using altrace = await startAltrace({
    policy: e2ePolicy(provider.origin),
    env: { ...PROVIDER_KEYS, ...SHIPS_AT_ONCE, ...ARCHIVES_HERE },
  });
  const home = join(altrace.home, "node");
  const [older, kept] = [join(auditor.path, "older"), join(auditor.path, "kept")];
  const early = await refuse(altrace);
  const before = await waitUntil("a cosigned checkpoint", async () => {
    return (await witnessedSize(altrace)) || undefined;
  });
  // It stands still meanwhile, as under a snapshot of the disk: partial tiles come and go.
  await stopProcess(altrace.process.pid);
  for (const folder of ["log", "wal"]) {
    cpSync(join(home, folder), join(older, folder), { recursive: true });
  }
  process.kill(altrace.process.pid, "SIGCONT");
  const late = await refuse(altrace);
  await waitUntil("the next one", async () => (await witnessedSize(altrace)) > before || undefined);
  await archived(altrace.home, late);
  const taken = await runHere("audit", "logs", "--out", kept, "--home", altrace.home);
  expect(taken.code).toBe(0);
  await altrace.crash();

  for (const folder of ["log", "wal"]) {
    rmSync(join(home, folder), { recursive: true });
    cpSync(join(older, folder), join(home, folder), { recursive: true });
  }
  // Its own files and keys show nothing; what others kept does, and what was listed lately.
  const verify = (...words: string[]) =>
    runHere("audit", "verify", "--json", "--home", altrace.home, ...words);
  const keys = ["--keys", join(kept, "policy"), "--witnessed", kept];
  const rolledBack = await verify(...keys);
  expect(rolledBack.code).toBe(1);
  expect(rolledBack.stdout).toContain("rolled_back");

  // At once, whatever its threads were writing: `process.exit` would wait for some of them for ever.
  const { code, signal } = await altrace.launch().ended;
  expect({ code, signal }).toEqual({ code: 1, signal: null });
  expect(altrace.said()).toContain("another history");
  await altrace.start();
  const anew = await refuse(altrace);
  await waitUntil("the second log", async () => (await logsOf(altrace)).length === 2 || undefined);
  const query = ["audit", "query", "--kind", "genesis", "--json", "--home", altrace.home];
  const { records } = JSON.parse((await runHere(...query)).stdout) as {
    records: { rc: string; prev?: string }[];
  };
  expect(records).toMatchObject([
    { rc: "first_epoch" },
    { rc: "disowned", prev: expect.stringContaining("/node-1/e1\n") },
  ]);
  const explained = await runHere("explain", early, "--home", altrace.home);
  expect(explained).toMatchObject({ code: 0, stdout: expect.stringContaining(early) });

  // The coordinator has both logs whole, the part of the first included that the node has lost.
  await archived(altrace.home, anew);
  rmSync(join(home, "log"), { recursive: true });
  const logs = await verifiedArchive(altrace.home);
  expect(logs.map(({ origin }) => origin.slice(-3))).toEqual(["/e1", "/e2"]);
  for (const { cosigned_by } of logs) expect(cosigned_by).toHaveLength(1);
  await archived(altrace.home, late);
  rmSync(join(altrace.home, "archive", logs[0]?.origin ?? ""), { recursive: true });
  const withheld = await askArchive(altrace.home, "verify");
  expect(withheld.code).toBe(1);
  expect(JSON.parse(withheld.stdout)).toMatchObject({ missing_logs: [logs[0]?.origin] });
});

/** A witness of somebody else, who is told of our logs while it runs. Until then it cannot answer. */
async function startOutsideWitness() {
  const signer = twinKeys(twinRandom(11)).loadOrCreate("witness");
  const of = { mesh: "auditor", replicaId: "w1", signer };
  let witness: Witness | undefined;
  const server = await startWitnessServer({
    ...{ host: "127.0.0.1", port: 0, bodyBytesMax: ADD_CHECKPOINT_BYTES_MAX },
    door: {
      add: async (body) => (await witness?.addFromOutside(body)) ?? { status: 503, body: "soon" },
      latest: (hash) => witness?.latest(hash),
    },
    onBug: (error) => expect.fail(String(error)),
  });
  const line = `witness auditor ${encodeVkey(witnessKey(of))}`;
  const tell = (vkeys: readonly string[]): void => {
    const keys = vkeys.map((vkey) => parseVkey(vkey)).flatMap((key) => (key.ok ? key.value : []));
    const told = { store: twinStore({}), clock: systemClock, tell: () => undefined };
    witness = new Witness({ ...of, ...told, outside: keys });
  };
  return {
    line,
    url: `http://127.0.0.1:${server.port}/`,
    tell,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

test("a witness outside cosigns every log, and receipts and auditors count it", async () => {
  await using provider = await startProvider();
  await using outside = await startOutsideWitness();
  using auditor = tempDir();
  const file = join(auditor.path, "witnesses");
  writeFileSync(file, `${outside.line} ${outside.url}\nquorum auditor\n`);
  await using altrace = await startAltrace({
    policy: e2ePolicy(provider.origin),
    env: {
      ...{ ...PROVIDER_KEYS, ...SHIPS_AT_ONCE, ...ARCHIVES_HERE },
      ...{ ALTRACE_OUTSIDE_WITNESSES: file, ALTRACE_OUTSIDE_WITNESS_EVERY_S: "1" },
    },
  });
  const request = await refuse(altrace);
  await archived(altrace.home, request);
  const keysOf = async (...words: string[]): Promise<readonly string[]> =>
    JSON.parse(await altrace.mustCli("audit", "keys", ...words, "--json")).logs;
  const vkeys = [...(await keysOf()), ...(await keysOf("--own"))];
  outside.tell(vkeys);
  const keys = join(auditor.path, "keys");
  const logs = vkeys.map((vkey) => `log ${vkey}\n`).join("");
  writeFileSync(keys, `${logs}${outside.line}\nquorum auditor\n`);

  await waitUntil("a receipt that the auditor takes", async () => {
    const out = join(auditor.path, "one");
    const made = await altrace.cli("audit", "receipt", request, "--archive", "--out", out);
    const proof = ["audit", "check", `${out}.tlog-proof`, "--keys", keys];
    return made.code === 0 && (await runHere(...proof)).code === 0;
  });
  // The node's own copy of the log has no cosignature from outside; the receipt has it all the same.
  const own = join(auditor.path, "own");
  await altrace.mustCli("audit", "receipt", request, "--out", own);
  const checked = await runHere("audit", "check", `${own}.tlog-proof`, "--keys", keys);
  expect(checked).toMatchObject({ code: 0, stdout: expect.stringContaining("auditor/witness/w1") });

  const verified = await waitUntil("both logs with their quorum", async () => {
    const { code, stdout } = await askArchive(altrace.home, "verify");
    return code === 0 ? (JSON.parse(stdout) as { logs: readonly Verdict[] }) : undefined;
  });
  expect(verified.logs).toHaveLength(2);
  for (const { witnessed_size, witnessed_by } of verified.logs) {
    expect(witnessed_size).toBeGreaterThan(0);
    expect(witnessed_by).toContain("auditor/witness/w1");
  }
  const copy = join(altrace.home, "archive");
  const offline = await runHere("audit", "verify", "--offline", copy, "--keys", keys, "--json");
  expect(JSON.parse(offline.stdout).logs).toMatchObject([{ findings: [] }]);
});

type Verdict = { readonly witnessed_size?: number; readonly witnessed_by?: readonly string[] };
