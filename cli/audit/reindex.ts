import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { minimumOf } from "../../audit/log-minimum.ts";
import { IndexWriter } from "../../node/audit/request-index.ts";
import { type CommandContext, CommandError } from "../command-context.ts";
import { entriesFrom, sizeOf } from "./entries.ts";
import { chosenFolder, type LogChoice, type LogPlace, logsBelow, readerOf } from "./log-place.ts";
import { bar } from "./verify.ts";

/** `altrace audit reindex`: makes the index by request id anew, from the entries alone. */
export function reindexLogs(context: CommandContext, choice: LogChoice): void {
  const { output } = context;
  const done = logsBelow(chosenFolder(context.home, choice)).map((place) => {
    const records = reindex(place, (text) => {
      if (output.terminal) output.progress(text);
    });
    return { origin: place.origin, records };
  });
  output.result({ logs: done }, () => {
    for (const { origin, records } of done) output.line(`${origin}  ${records} records indexed`);
  });
}

function reindex(place: LogPlace, progress: (text: string) => void): number {
  const size = sizeOf(place);
  const put = (path: string, bytes: Uint8Array): void => {
    const file = join(place.dir, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(`${file}.made`, bytes, { mode: 0o600 });
    renameSync(`${file}.made`, file);
  };
  const writer = new IndexWriter(
    { put, read: readerOf(place.dir).read as () => undefined },
    0,
    [].values(),
  );
  // A node removes whole segments, so the first entry that is left begins one.
  const first = minimumOf(readerOf(place.dir));
  let index = first;
  for (const entries of entriesFrom(place, { from: 0, size })) {
    if (entries[0] !== undefined && entries[0].record.seq !== index) {
      throw new CommandError(`${place.origin}: records were removed meanwhile: run it again`);
    }
    for (const { bytes } of entries) writer.add(bytes, index++);
    const spent = writer.takeSmallSpent();
    for (let no = Math.max(0, spent - 16); no < spent; no++) {
      rmSync(join(place.dir, "index", "small", String(no)), { force: true });
    }
    if (index % 16_384 === 0) progress(bar(place.origin, index, size));
  }
  return size - first;
}
