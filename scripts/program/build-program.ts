import { hash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type OutputChunk, rolldown } from "rolldown";
import {
  areWhole,
  BUILT,
  builtProgram,
  MAIN,
  MANIFEST,
  type Manifest,
} from "../../cli/built-program.js";
import { ReadSources, threadFile } from "./read-sources.ts";

export type ProgramOptions = {
  /** The repository: every source is in it. */
  readonly root: string;
  /** The module that starts the program, from the root. */
  readonly main: string;
  /** What else decides what is built, from the root. */
  readonly also: readonly string[];
};

/** Packages that find their own files, native ones and threads' programs, by where they lie. */
const LEFT = ["lmdb", "piscina"];

/**
 * Builds the program of the sources, unless one lies there that was built of them: a file for each thread, and further ones for what the
 * first thread loads when it is needed.
 *
 * Every thread has a build of its own, since none of them shares what it has loaded. The program before is left, for whoever runs it
 * still; it goes with the next one.
 *
 * @returns The module that starts it.
 */
export async function buildProgram(options: ProgramOptions): Promise<string> {
  const { root, main, also } = options;
  const before = builtProgram(pathToFileURL(join(root, "/")));
  if (before !== undefined) return fileURLToPath(before);
  const place = join(root, BUILT);
  const reading = new ReadSources(root, join(BUILT, "folder"));
  for (const path of also) reading.note(path);
  const chunks = await chunksOf({ root, reading }, main, MAIN);
  const built = new Set<string>();
  for (let todo = [...reading.threads]; todo.length > 0; ) {
    for (const path of todo) built.add(path);
    const files = todo.map((path) => chunksOf({ root, reading }, path, threadFile(path)));
    chunks.push(...(await Promise.all(files)).flat());
    todo = [...reading.threads].filter((path) => !built.has(path));
  }
  const folder = nameOf(chunks);
  const files = chunks.map(({ fileName, code }) => [fileName, Buffer.byteLength(code)] as const);
  const path = join(place, folder);
  if (!areWhole(pathToFileURL(join(path, "/")), files)) keep(path, chunks);
  say(place, { folder, files, sources: reading.builtOf });
  return join(path, MAIN);
}

async function chunksOf(
  { root, reading }: { readonly root: string; readonly reading: ReadSources },
  input: string,
  file: string,
): Promise<OutputChunk[]> {
  await using bundle = await rolldown({
    cwd: root,
    input: join(root, input),
    platform: "node",
    external: LEFT,
    tsconfig: false,
    logLevel: "silent",
    plugins: [reading.plugin],
  });
  const { output } = await bundle.generate({
    format: "esm",
    entryFileNames: file,
    chunkFileNames: file.replace(/mjs$/, "[name].mjs"),
  });
  return output.filter((one) => one.type === "chunk");
}

function nameOf(chunks: readonly OutputChunk[]): string {
  const texts = chunks.map(({ fileName, code }) => [fileName, code]);
  return hash("sha256", JSON.stringify(texts.sort())).slice(0, 16);
}

/** Nobody finds half a program: a folder is there under its name once all of it is. One that has lost something is made anew. */
function keep(path: string, chunks: readonly OutputChunk[]): void {
  const unfinished = join(dirname(path), `unfinished-${process.pid}`);
  for (const one of [path, unfinished]) rmSync(one, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  for (const { fileName, code } of chunks) writeFileSync(join(unfinished, fileName), code);
  try {
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { recursive: true });
    // Somebody else has built the same meanwhile.
    if (!existsSync(path)) throw error;
  }
}

/** Says which program it is from now on, and takes away those before the last one. */
function say(place: string, manifest: Manifest): void {
  const file = join(place, MANIFEST);
  const last = folderIn(file);
  const unfinished = `${file}.${process.pid}`;
  writeFileSync(unfinished, JSON.stringify(manifest));
  renameSync(unfinished, file);
  // Somebody else has built the same, and taken away what was to go.
  if (last === manifest.folder) return;
  const kept = new Set([manifest.folder, last]);
  for (const { name } of readdirSync(place, { withFileTypes: true }).filter((one) =>
    one.isDirectory(),
  ))
    if (/^[0-9a-f]{16}$/.test(name) && !kept.has(name))
      rmSync(join(place, name), { recursive: true });
}

function folderIn(file: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(file, "utf8")) as Manifest).folder;
  } catch {
    return undefined;
  }
}
