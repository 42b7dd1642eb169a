import { readFileSync, writeFileSync } from "node:fs";
import { type Checkpoint, parseCheckpointText } from "../../audit/checkpoint.ts";
import { decodeRecord } from "../../audit/leaf.ts";
import { inclusionProof, leafHash, verifyInclusion } from "../../audit/merkle.ts";
import { encodeReceipt, parseReceipt, verifyReceipt } from "../../audit/receipt.ts";
import { parseNote } from "../../audit/signed-note.ts";
import {
  CHECKPOINT_PATH,
  type LogReader,
  readTile,
  subtreesFromTiles,
  TileError,
} from "../../audit/tiles.ts";
import { WITNESSED_PATH } from "../../audit/witnessed.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import type { Entry } from "./entries.ts";
import {
  chosenFolder,
  type LogChoice,
  type LogPlace,
  logsBelow,
  readerBeside,
  readKeysFile,
} from "./log-place.ts";
import { recordLine, requestEntries } from "./query.ts";

export type ReceiptOptions = LogChoice & { readonly out?: string };

/**
 * `altrace audit receipt <request>`: one file for each record of the request, which anybody can check
 * offline against the log's public key (c2sp.org/tlog-proof).
 */
export function writeReceipts(
  context: CommandContext,
  request: string,
  options: ReceiptOptions,
): void {
  const places = logsBelow(chosenFolder(context.home, options));
  const made = places.flatMap((place) => receiptsOf(context.home, place, request));
  if (made.length === 0) {
    throw new CommandError(`no checkpoint covers a record of ${request} yet, or there is none`);
  }
  const files = made.map(({ entry, text, origin }, i) => {
    const base = options.out ?? request;
    const path = i === 0 ? `${base}.tlog-proof` : `${base}.${i + 1}.tlog-proof`;
    writeFileSync(path, text);
    return { path, origin, index: entry.record.seq, record: entry.record };
  });
  context.output.result({ receipts: files }, () => {
    for (const { path, origin, index, record } of files) {
      context.output.line(`${path}  ${origin} leaf ${index}`);
      context.output.line(recordLine(record));
    }
  });
}

/** `altrace audit check <receipt> --keys FILE`: whether a receipt proves what it says. */
export function checkReceipt(
  context: CommandContext,
  path: string,
  { keys }: { readonly keys?: string },
): void {
  if (keys === undefined) throw new CommandError("check needs --keys <file>", 2);
  const policy = readKeysFile(keys);
  const receipt = parseReceipt(fileAt(path));
  if (!receipt.ok) throw new CommandError(`${path}: ${receipt.flaw}: ${receipt.detail}`);
  const proven = verifyReceipt(receipt.value, policy);
  if (!proven.ok) throw new CommandError(`${path}: ${proven.flaw}: ${proven.detail}`);
  const { index, entry, checkpoint } = proven.value;
  const decoded = decodeRecord(entry);
  const record = decoded.ok ? decoded.record : undefined;
  const { origin, size } = checkpoint;
  const cosigned = checkpoint.cosignatures.map(({ key, timeSeconds }) => ({
    witness: key.name,
    at: new Date(timeSeconds * 1_000).toISOString(),
  }));
  context.output.result({ ok: true, origin, index, size, cosigned, record }, () => {
    context.output.line(`proven: leaf ${index} of ${size} in ${origin}`);
    for (const { witness, at } of cosigned) context.output.line(`witnessed by ${witness} at ${at}`);
    context.output.line(JSON.stringify(record));
  });
}

type Made = { readonly origin: string; readonly entry: Entry; readonly text: string };

function receiptsOf(home: string, place: LogPlace, request: string): readonly Made[] {
  const reader = readerBeside(home, place);
  const witnessed = headIn(reader, WITNESSED_PATH);
  const newest = headIn(reader, CHECKPOINT_PATH);
  if (newest === undefined) {
    throw new CommandError(`${place.dir}: its checkpoint cannot be read`);
  }
  const { size, origin } = newest;
  return requestEntries(place, request, size).map((entry) => {
    // What witnesses outside have cosigned convinces more people, once it covers the record.
    const heads = [witnessed, newest].filter((head) => head?.origin === origin);
    const [text] = heads.flatMap((head) => (head && receiptUnder(head, reader, entry)) ?? []);
    // Made from tiles that nobody has verified: a receipt that proves nothing is not handed out.
    if (text !== undefined) return { origin, entry, text };
    const { seq } = entry.record;
    throw new CommandError(`${origin}: leaf ${seq} is not what was signed: \`audit verify\``);
  });
}

type Head = Checkpoint & { readonly note: string };

function headIn(reader: LogReader, path: string): Head | undefined {
  const bytes = reader.read(path);
  const note = bytes && parseNote(bytes);
  const checkpoint = note?.ok ? parseCheckpointText(note.value.text) : undefined;
  if (bytes === undefined || !checkpoint?.ok) return undefined;
  return { ...checkpoint.value, note: Buffer.from(bytes).toString("utf8") };
}

/** Undefined where that checkpoint does not cover the record, or no proof leads from what lies here to it. */
function receiptUnder(
  { size, root, note }: Head,
  reader: LogReader,
  { record, bytes }: Entry,
): string | undefined {
  const index = record.seq;
  if (index >= size) return undefined;
  try {
    const subtrees = subtreesFromTiles(size, (tile) => readTile(reader, tile));
    const proof = inclusionProof(index, size, subtrees);
    if (!verifyInclusion({ index, size, leaf: leafHash(bytes), proof, root })) return undefined;
    return encodeReceipt({ index, proof, checkpoint: note, entry: bytes });
  } catch (error) {
    if (error instanceof TileError) return undefined;
    throw error;
  }
}

function fileAt(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const why = errorMessage(cause);
    throw new CommandError(`${path} cannot be read: ${why}`);
  }
}
