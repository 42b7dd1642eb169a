import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { createBusHub } from "../../../adapters/in-process-bus.ts";
import { checkpointText, encodeCheckpoint, signCheckpoint } from "../../../audit/checkpoint.ts";
import { encodeVkey, KEY_TYPES, verifierKey } from "../../../audit/signed-note.ts";
import { operationsOrigin } from "../../../coordinator/operations/operations-log.ts";
import {
  LOOK_EVERY_MS,
  OwnCheckpoint,
  SAY_EVERY_MS,
} from "../../../coordinator/operations/own-checkpoint.ts";
import { PeerLogs } from "../../../coordinator/operations/peer-logs.ts";
import { seal } from "../../../mesh/sealed.ts";
import type { TrustView } from "../../../mesh/trust.ts";
import type { Signer } from "../../../ports/keys.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys, twinSigner } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { type TwinStore, twinStore } from "../../../ports/twin-store.ts";
import { OwnLogSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { OWN_LOG_PATTERN } from "../../../proto/subjects.ts";
import { tempDir } from "../../support/temp-dir.ts";

// A coordinator's own log, as the others keep it.

const MESH = "test-mesh";
const signerOf = (seed: number): Signer => twinSigner(twinRandom(seed).bytes(32));
const [coordinator, stranger, logKey, otherKey] = [1, 2, 3, 4].map(signerOf) as [
  Signer,
  Signer,
  Signer,
  Signer,
];
const verify = twinKeys(twinRandom(5)).verify;
const trust = {
  lookup: (kid: string) =>
    kid === coordinator.kid
      ? {
          kid,
          publicKey: coordinator.publicKey,
          role: "coordinator",
          notBeforeMs: 0,
          notAfterMs: 0,
        }
      : undefined,
} as unknown as TrustView;

function checkpointOf(size: number, root = size, replica = "c2", key = logKey) {
  const origin = operationsOrigin({ mesh: MESH, replica });
  const verifier = verifierKey(origin, KEY_TYPES.log, key.publicKey);
  const signer = { key: verifier, sign: (bytes: Uint8Array) => key.sign(bytes) };
  const text = checkpointText({ origin, size, root: Buffer.alloc(32, root) });
  const checkpoint = encodeCheckpoint(text, [signCheckpoint(text, signer)]);
  return { origin, vkey: encodeVkey(verifier), checkpoint };
}

function said(of: { readonly vkey: string; readonly checkpoint: string }, by = coordinator) {
  return seal("own_log", toBinary(OwnLogSchema, create(OwnLogSchema, of)), by);
}

function peersOver(store: TwinStore) {
  const told: string[] = [];
  const peers = new PeerLogs({
    mesh: MESH,
    replicaId: "c1",
    bus: createBusHub(undefined).connect(),
    store,
    clock: twinClock(),
    trust,
    verify,
    tell: (event) => told.push(event),
  });
  return { peers, told, sizes: () => peers.list().map(({ size }) => size) };
}

test("P2: a log that goes back is told once, and held against what it was, also after a restart", async () => {
  const store = twinStore();
  const { peers, told, sizes } = peersOver(store);
  await peers.take(said(checkpointOf(10)));
  await peers.take(said(checkpointOf(12)));
  expect([sizes(), told]).toEqual([[12], []]);
  await peers.take(said(checkpointOf(11)));
  await peers.take(said(checkpointOf(11)));
  expect([sizes(), told]).toEqual([[12], ["log_went_back"]]);
  const again = peersOver(store);
  expect(again.peers.list()).toEqual(peers.list());
  await again.peers.take(said(checkpointOf(5)));
  await again.peers.take(said(checkpointOf(12, 99)));
  expect(again.told).toEqual(["log_went_back", "log_forked"]);
  await again.peers.take(said(checkpointOf(13)));
  expect(again.sizes()).toEqual([13]);
  const kept = [...store.durable.keys()].filter((key) => key.startsWith("evidence/"));
  expect(kept).toHaveLength(3);
});

test("P1: it counts under the mesh's and the log's own key, by its own name, and is another coordinator's", async () => {
  const { peers, told, sizes } = peersOver(twinStore());
  await peers.take(said(checkpointOf(10), stranger));
  await peers.take(said(checkpointOf(10, 10, "c1")));
  await peers.take(said({ ...checkpointOf(10), vkey: checkpointOf(10, 10, "c3").vkey }));
  await peers.take(said({ ...checkpointOf(10), checkpoint: "no note" }));
  await peers.take(
    said({
      vkey: checkpointOf(10, 10, "c2", otherKey).vkey,
      checkpoint: checkpointOf(10).checkpoint,
    }),
  );
  await peers.take(Buffer.from("junk"));
  expect([sizes(), told]).toEqual([[], []]);
  await peers.take(said(checkpointOf(10)));
  await peers.take(said(checkpointOf(20, 20, "c2", otherKey)));
  expect([sizes(), told]).toEqual([[10], ["log_key_refused"]]);
});

test("P3: of names that nobody has no more are kept than some", async () => {
  const { peers } = peersOver(twinStore());
  for (let i = 0; i < 80; i++) await peers.take(said(checkpointOf(1, 1, `d${i}`)));
  expect(peers.list()).toHaveLength(64);
});

test("a coordinator says how far its log is when that has grown, and now and then", async () => {
  using home = tempDir();
  const clock = twinClock();
  const bus = createBusHub(undefined).connect();
  const heard: Uint8Array[] = [];
  bus.listen(OWN_LOG_PATTERN, ({ bytes }) => heard.push(bytes));
  const path = join(home.path, "log", "checkpoint");
  const { origin, checkpoint } = checkpointOf(3);
  const keys = { load: () => logKey };
  const own = new OwnCheckpoint({
    replica: "c2",
    origin,
    path,
    bus,
    clock,
    keys,
    signer: coordinator,
  });
  own.start();
  expect(heard).toHaveLength(0);
  mkdirSync(join(home.path, "log"));
  writeFileSync(path, checkpoint);
  const passes = async (ms: number) => {
    for (let left = ms; left > 0; left -= LOOK_EVERY_MS) clock.advance(LOOK_EVERY_MS);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await passes(LOOK_EVERY_MS);
  await passes(LOOK_EVERY_MS);
  expect(heard).toHaveLength(1);
  writeFileSync(path, checkpointOf(4).checkpoint);
  await passes(LOOK_EVERY_MS);
  expect(heard).toHaveLength(2);
  await passes(SAY_EVERY_MS);
  expect(heard).toHaveLength(3);
  own.stop();
  await passes(SAY_EVERY_MS);
  expect(heard).toHaveLength(3);
  const { peers, sizes } = peersOver(twinStore());
  for (const bytes of heard) await peers.take(bytes);
  expect(sizes()).toEqual([4]);
});
