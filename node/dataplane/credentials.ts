import { type FSWatcher, readdirSync, readFileSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import type { Cancel, Clock } from "../../ports/clock.ts";
import { scrubKeyMaterial } from "./key-material.ts";

/** The providers' credentials that are on this node, by name. Their values leave in headers alone. */
export type Credentials = {
  /** Undefined when there is none of this name, or its file holds nothing that can be one. */
  secretOf(name: string): string | undefined;
  readonly names: readonly string[];
  /** Takes these and earlier credentials, and what looks like one, out of a provider's text. */
  scrub(text: string): string;
  close(): void;
};

export type CredentialsOptions = {
  readonly clock: Clock;
  /** A folder with one file for each credential, named as policy names it. */
  readonly directory?: string;
  /** Credentials given in another way, by name; a file of the same name wins. */
  readonly values?: ReadonlyMap<string, string>;
  /** Told of a file that cannot be used: its name and why, never its content. */
  onProblem?(name: string, problem: string): void;
};

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** What a header can carry without a second reading, and long enough to be found in a text. */
const SECRET = /^[\x21-\x7e]{8,4096}$/;
const FILE_BYTES_MAX = 8_192;
const FILES_MAX = 1_024;
/** A watch may miss changes, on network and overlay file systems above all. */
const POLL_MS = 5_000;
/** Several files change one after the other; the folder is read once they have. */
const SETTLE_MS = 50;
/** Earlier secrets that are still taken out of texts. */
const RETIRED_MAX = 64;

/** Opens the credentials; they are read again whenever their folder changes. */
export function openCredentials(options: CredentialsOptions): Credentials {
  return new CredentialStore(options);
}

class CredentialStore implements Credentials {
  readonly #options: CredentialsOptions;
  #secrets = new Map<string, string>();
  readonly #retired = new Set<string>();
  readonly #problems = new Map<string, string>();
  #stamp = "";
  #watcher: FSWatcher | undefined;
  #cancelPoll: Cancel = () => {};
  #cancelSettle: Cancel = () => {};

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#reload();
    if (options.directory === undefined) return;
    this.#watch(options.directory);
    this.#poll();
  }

  get names(): readonly string[] {
    return [...this.#secrets.keys()].sort();
  }

  secretOf(name: string): string | undefined {
    return this.#secrets.get(name);
  }

  scrub(text: string): string {
    return scrubKeyMaterial(text, new Set([...this.#secrets.values(), ...this.#retired]));
  }

  close(): void {
    this.#watcher?.close();
    this.#cancelPoll();
    this.#cancelSettle();
  }

  #watch(directory: string): void {
    try {
      this.#watcher = watch(directory, () => {
        this.#cancelSettle();
        this.#cancelSettle = this.#options.clock.after(SETTLE_MS, () => this.#reload());
      });
      // The folder itself may go away; the poll notices when it is back.
      this.#watcher.on("error", () => this.#watcher?.close());
      this.#watcher.unref();
    } catch {
      // No folder yet, or no watches left: the poll alone does it, later.
    }
  }

  #poll(): void {
    this.#cancelPoll = this.#options.clock.after(POLL_MS, () => {
      this.#reload();
      this.#poll();
    });
  }

  #reload(): void {
    const { directory, values = new Map<string, string>() } = this.#options;
    const files = directory === undefined ? [] : listFiles(directory);
    const stamp = files.map(({ name, stamp }) => `${name} ${stamp}`).join("\n");
    if (stamp === this.#stamp && this.#secrets.size > 0) return;
    this.#stamp = stamp;
    const secrets = new Map<string, string>();
    for (const [name, value] of values) this.#add(secrets, name, value);
    for (const { name, path } of files) this.#addFile(secrets, name, path);
    this.#retire(secrets);
    this.#secrets = secrets;
  }

  #addFile(secrets: Map<string, string>, name: string, path: string): void {
    try {
      this.#add(secrets, name, readFileSync(path, "utf8").trim());
    } catch {
      this.#report(name, "cannot be read");
    }
  }

  #add(secrets: Map<string, string>, name: string, value: string): void {
    if (!NAME.test(name)) this.#report(name, "is not a credential's name");
    else if (!SECRET.test(value))
      this.#report(name, "does not hold 8 to 4096 visible ASCII characters");
    else {
      secrets.set(name, value);
      this.#problems.delete(name);
    }
  }

  /** Once for each file and problem: the folder is looked at for ever. */
  #report(name: string, problem: string): void {
    if (this.#problems.get(name) === problem) return;
    this.#problems.set(name, problem);
    this.#options.onProblem?.(name, problem);
  }

  #retire(now: ReadonlyMap<string, string>): void {
    const kept = new Set(now.values());
    for (const secret of this.#secrets.values()) if (!kept.has(secret)) this.#retired.add(secret);
    for (const secret of this.#retired) {
      if (this.#retired.size <= RETIRED_MAX) break;
      this.#retired.delete(secret);
    }
  }
}

type CredentialFile = { readonly name: string; readonly path: string; readonly stamp: string };

/** Regular files of the folder. Names that begin with a dot are how Kubernetes swaps a mount. */
function listFiles(directory: string): readonly CredentialFile[] {
  const files: CredentialFile[] = [];
  let names: readonly string[];
  try {
    names = readdirSync(directory).sort();
  } catch {
    return [];
  }
  for (const name of names) {
    if (name.startsWith(".") || files.length >= FILES_MAX) continue;
    const path = join(directory, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isFile() !== true || found.size > FILE_BYTES_MAX) continue;
    files.push({ name, path, stamp: `${found.mtimeMs} ${found.size} ${found.ino}` });
  }
  return files;
}
