import { hash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, relative } from "node:path";
import type { Plugin } from "rolldown";
import type { BuiltOf } from "../../cli/built-program.d.ts";

/** What was read of the sources while a program was built of them. */
export class ReadSources {
  readonly #root: string;
  readonly #folder: string;
  readonly #read = new Map<string, BuiltOf>();
  /** What the bundler was given of them: several threads' programs have most of them. */
  readonly #given = new Map<string, string>();
  /** Programs of threads that are named in a source, from the root; each is a program of its own. */
  readonly threads = new Set<string>();

  /** @param folder Where the program will lie: what it names beside itself is found from there. */
  constructor(root: string, folder: string) {
    this.#root = root;
    this.#folder = folder;
  }

  /** All that was read, in an order that depends on nothing else. */
  get builtOf(): readonly BuiltOf[] {
    return [...this.#read.values()].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Has the bundler read its sources here. */
  get plugin(): Plugin {
    return {
      name: "read-sources",
      load: (id) => (isAbsolute(id) ? this.#load(id) : null),
    };
  }

  /** Notes a file as one of those that a program depends on. */
  note(path: string): string {
    const file = join(this.#root, path);
    // Before it is read: a change after that has another time, unless both are in this second.
    const { size, mtimeMs } = statSync(file);
    const changedS = Math.floor(mtimeMs / 1000);
    const isTold = changedS < Math.floor(Date.now() / 1000);
    const bytes = readFileSync(file);
    const sha256 = hash("sha256", bytes, "base64url");
    this.#read.set(path, [path, size, isTold ? changedS : null, sha256]);
    return bytes.toString("utf8");
  }

  #load(file: string): string | null {
    const path = relative(this.#root, file);
    const given = this.#given.get(path);
    if (given !== undefined) return given;
    if (path.startsWith("..")) throw new Error(`${file} is not of this repository`);
    const text = this.note(path);
    const moved = path.includes("node_modules/") ? text : this.#fromThere(path, text);
    this.#given.set(path, moved);
    return moved;
  }

  /** A source names what lies beside it; the program lies elsewhere. */
  #fromThere(path: string, text: string): string {
    const moved = text.replaceAll(BESIDE, (_, named: string) => {
      const target = join(dirname(path), named);
      if (target.endsWith(".ts")) this.threads.add(target);
      const from = target.endsWith(".ts") ? `./${threadFile(target)}` : this.#awayTo(target);
      return `new URL(${JSON.stringify(from)}, import.meta.url)`;
    });
    const rest = moved.replaceAll(BESIDE, "").replaceAll(REQUIRES, "");
    if (!rest.includes("import.meta")) return moved;
    throw new Error(`${path}: what is not new URL("...", import.meta.url) would not be found`);
  }

  #awayTo(path: string): string {
    return relative(this.#folder, path);
  }
}

/** What a thread's program is called where it was built. */
export function threadFile(path: string): string {
  return `${path.replace(/\.ts$/, "").replaceAll("/", "-")}.mjs`;
}

const BESIDE = /new URL\("(\.[^"]+)", import\.meta\.url\)/g;
/** Packages are found from anywhere within the repository. */
const REQUIRES = /createRequire\(import\.meta\.url\)/g;
