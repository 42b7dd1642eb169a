import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

/** One of our own source files, and what it imports. */
export type Source = {
  /** From the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
};

export type Import = {
  /** As written. */
  readonly specifier: string;
  /** For relative ones, from the root of the repository. */
  readonly target: string | undefined;
};

const ROOT = join(import.meta.dirname, "..", "..");
const SKIPPED = new Set(["node_modules", ".git", ".tools", ".altrace", "coverage"]);
const TEXT = /(^|[./])(ts|js|json|md|proto|ya?ml|run)$/;
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^"';]*?from\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"|new URL\("(\.[^"]+\.ts)"/g;

/** Every TypeScript file outside test/, generated code left out. */
export function productSources(): readonly Source[] {
  return allSources().filter(
    ({ path }) => !path.startsWith("test/") && !path.startsWith("proto/gen/"),
  );
}

/** Every TypeScript file of the repository. */
export function allSources(): readonly Source[] {
  return files(ROOT)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => {
      const path = relative(ROOT, file).replaceAll("\\", "/");
      const text = readFileSync(file, "utf8");
      return { path, text, imports: importsOf(path, text) };
    });
}

/** A file that people read and write, whatever its language. */
export type TextFile = { readonly path: string; readonly text: string };

/** Every such file, code and pages alike; what programs wrote is left out. */
export function textFiles(): readonly TextFile[] {
  return files(ROOT)
    .map((file) => ({ path: relative(ROOT, file).replaceAll("\\", "/"), file }))
    .filter(({ path }) => TEXT.test(path))
    .filter(({ path }) => !path.startsWith("proto/gen/") && path !== "package-lock.json")
    .map(({ path, file }) => ({ path, text: readFileSync(file, "utf8") }));
}

/** One file's text; the path is from the root of the repository. */
export function textOf(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Names in a folder, sorted; the path is from the root of the repository. */
export function namesIn(path: string): readonly string[] {
  return readdirSync(join(ROOT, path)).sort();
}

/** The first folder of a path: its room. */
export function roomOf(path: string): string {
  return path.slice(0, path.indexOf("/"));
}

/** Blanks out comments but keeps the lines, so that numbers stay true. */
export function withoutComments(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, " "))
    .replaceAll(/(^|\s)\/\/[^\n]*/g, "$1");
}

function importsOf(path: string, text: string): Import[] {
  return [...text.matchAll(IMPORT)].map((match) => {
    const specifier = (match[1] ?? match[2] ?? match[3] ?? match[4]) as string;
    const target = specifier.startsWith(".")
      ? normalize(join(dirname(path), specifier)).replaceAll("\\", "/")
      : undefined;
    return { specifier, target };
  });
}

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}
