/** A log in memory, as a node would leave it on disk, and the keys around it. */

import { createPrivateKey } from "node:crypto";
import {
  checkpointText,
  cosignCheckpoint,
  encodeCheckpoint,
  signCheckpoint,
} from "../../../audit/checkpoint.ts";
import { encodeLeaf, sealLeaf } from "../../../audit/leaf.ts";
import type { LogPolicy } from "../../../audit/log-policy.ts";
import { leafHash } from "../../../audit/merkle.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import {
  ed25519Signer,
  KEY_TYPES,
  type KeyType,
  type NoteSigner,
} from "../../../audit/signed-note.ts";
import { TileEdge } from "../../../audit/tile-edge.ts";
import { bundlePath, bundlesOf, encodeBundle, tilePath } from "../../../audit/tiles.ts";
import { DENY } from "./sample-records.ts";

export const ORIGIN = "altrace.acme.example/node-7/e3";
export const T0_MS = 1_790_000_000_000;

/** PKCS #8 of an Ed25519 key, up to its seed. */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

export function signerOf(name: string, type: KeyType, seed: number): NoteSigner {
  const der = Buffer.concat([PKCS8_HEAD, Buffer.alloc(32, seed)]);
  return ed25519Signer(name, type, createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
}

export const LOG = signerOf(ORIGIN, KEY_TYPES.log, 1);
export const WITNESS = signerOf("coordinator.acme.example/w1", KEY_TYPES.cosignature, 2);
export const STRANGER = signerOf("stranger.example/w9", KEY_TYPES.cosignature, 3);
/** Another key under the log's name. */
export const IMPOSTOR = signerOf(ORIGIN, KEY_TYPES.log, 4);

export const POLICY: LogPolicy = {
  logs: [LOG.key],
  witnesses: [WITNESS.key],
  quorum: { witness: WITNESS.key },
};

/** A request id for leaf `index`. */
export function ridOf(index: number): string {
  return `01998f3e-7c1a-7b2c-9d3e-${index.toString(16).padStart(12, "0")}`;
}

/** A genesis and refusals after it, 10 ms apart. */
export function recordsOf(count: number): AuditRecord[] {
  const genesis = {
    v: 1,
    k: "genesis",
    t: T0_MS,
    node: "node-7",
    origin: ORIGIN,
    rc: "new",
  } as const;
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? genesis : { ...DENY, rid: ridOf(i), t: T0_MS + i * 10 },
  );
}

export function entriesOf(records: readonly AuditRecord[]): Buffer[] {
  return records.map((record, seq) => sealLeaf(encodeLeaf(record), { ep: 3, seq }));
}

/** When the witness signs: after the last record, in seconds. */
export function cosignTimeOf(count: number): number {
  return Math.ceil((T0_MS + count * 10) / 1_000) + 1;
}

export type SampleLog = {
  readonly files: Map<string, Buffer>;
  readonly edge: TileEdge;
  readonly text: string;
};

/** All files of a log of these entries, with a checkpoint signed by `log` and cosigned. */
export function buildLog(
  entries: readonly Uint8Array[],
  log: NoteSigner = LOG,
  timeSeconds: number = cosignTimeOf(entries.length),
): SampleLog {
  const files = new Map<string, Buffer>();
  const edge = new TileEdge();
  for (const entry of entries) {
    for (const { tile, bytes } of edge.append(leafHash(entry))) files.set(tilePath(tile), bytes);
  }
  for (const { tile, bytes } of edge.partials()) files.set(tilePath(tile), bytes);
  for (const bundle of bundlesOf(entries.length)) {
    const first = bundle.index * 256;
    files.set(bundlePath(bundle), encodeBundle(entries.slice(first, first + bundle.width)));
  }
  const text = checkpointText({ origin: ORIGIN, size: edge.size, root: edge.root() });
  const lines = [signCheckpoint(text, log), cosignCheckpoint(text, WITNESS, timeSeconds)];
  files.set("checkpoint", Buffer.from(encodeCheckpoint(text, lines)));
  return { files, edge, text };
}
