import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A file that the bundler has put together says before each part which source it is of, from the root. */
const SOURCE = /^\/\/ (?:#region )?(\S+\.[cm]?[jt]s)$/;

const sources = new Map<string, readonly (string | undefined)[]>();

/** @returns The source that a line of the built program is of, as its URL would be; of any other file the URL itself. */
export function sourceOf(url: string, line: number, root: string): string {
  if (!url.includes("/.cache/program/")) return url;
  let lines = sources.get(url);
  if (lines === undefined) {
    lines = sourcesOf(readFileSync(fileURLToPath(url), "utf8"));
    sources.set(url, lines);
  }
  const source = lines[line];
  return source === undefined ? url : root + source;
}

/** The source of each line. */
export function sourcesOf(text: string): readonly (string | undefined)[] {
  let current: string | undefined;
  return text.split("\n").map((line) => {
    current = SOURCE.exec(line)?.[1] ?? current;
    return current;
  });
}
