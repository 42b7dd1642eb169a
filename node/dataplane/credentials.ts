import { type FSWatcher, readdirSync, readFileSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import type { Cancel, Clock } from "../../ports/clock.ts";
import { isName } from "../../proto/ids.ts";
import { scrubKeyMaterial } from "./key-material.ts";

// The providers' credentials that are on this node.
//
// P1. A file of the folder is one credential: `<name>` for all teams, `<team>.<name>` for one alone.
//     Which of them a request takes is said by policy and by the agent's team, exactly: there is no
//     second choice, so that no team ever pays with another's.
// P2. A changed folder is taken once it has stood still, so that nobody reads half of a rotation.
// P3. A file that cannot be used changes nothing: the secret before stays, and that is told.
// P4. A file that is gone takes its secret away. What was sent with it goes on.
// P5. Files of teams that this node does not serve are not read.

/** Their values leave in headers alone. */
export type Credentials = {
  /**
   * @param name As `credentialName` spells it.
   * @returns Undefined when there is none of this name, or its file never held one.
   */
  secretOf(name: string): string | undefined;
  readonly names: readonly string[];
  /** Takes these and earlier credentials, and what looks like one, out of a provider's text. */
  scrub(text: string): string;
  close(): void;
};

export type CredentialsOptions = {
  readonly clock: Clock;
  /** A folder with one file for each credential, named as `credentialName` spells it. */
  readonly directory?: string;
  /** Credentials given in another way, by name; a file of the same name wins. */
  readonly values?: ReadonlyMap<string, string>;
  /** Teams whose own credentials may be on this node; undefined: any team's. */
  readonly teams?: readonly string[] | undefined;
  /** Told of a file that cannot be used: its name and why, never its content. */
  onProblem?(name: string, problem: string): void;
  /** Told that another secret is in use under this name from now on; not of those found at first. */
  onTaken?(name: string): void;
};

/** What a header can carry without a second reading, and long enough to be found in a text. */
const SECRET = /^[\x21-\x7e]{8,4096}$/;
const FILE_BYTES_MAX = 8_192;
const FILES_MAX = 1_024;
/** A watch may miss changes, on network and overlay file systems above all. */
const POLL_MS = 5_000;
/** How long the folder must look the same before what has changed in it is taken. */
const STILL_MS = 250;
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
  /** What the folder looked like when it was taken, and at the last look. */
  #taken: string | undefined;
  #seen = "";
  #isOpen = false;
  #watcher: FSWatcher | undefined;
  #cancelPoll: Cancel = () => {};
  #cancelLook: Cancel = () => {};

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#look();
    this.#isOpen = true;
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
    this.#cancelLook();
  }

  #watch(directory: string): void {
    try {
      this.#watcher = watch(directory, () => this.#lookSoon());
      // The folder itself may go away; the poll notices when it is back.
      this.#watcher.on("error", () => this.#watcher?.close());
      this.#watcher.unref();
    } catch {
      // No folder yet, or no watches left: the poll alone does it, later.
    }
  }

  #poll(): void {
    this.#cancelPoll = this.#options.clock.after(POLL_MS, () => {
      this.#look();
      this.#poll();
    });
  }

  #lookSoon(): void {
    this.#cancelLook();
    this.#cancelLook = this.#options.clock.after(STILL_MS, () => this.#look());
  }

  #look(): void {
    const files = this.#filesNow();
    if (files === undefined) return;
    const stamp = files.map(({ name, stamp }) => `${name} ${stamp}`).join("\n");
    if (stamp === this.#taken) return;
    const isStill = this.#taken === undefined || stamp === this.#seen;
    this.#seen = stamp;
    if (isStill && this.#take(files)) this.#taken = stamp;
    else this.#lookSoon();
  }

  #filesNow(): readonly CredentialFile[] | undefined {
    const { directory } = this.#options;
    if (directory === undefined) return [];
    try {
      const files = listFiles(directory);
      this.#problems.delete("");
      return files;
    } catch (error) {
      this.#report("", `the folder cannot be read (${(error as NodeJS.ErrnoException).code})`);
      return undefined;
    }
  }

  /** False: a file changed meanwhile, so that nothing was taken. */
  #take(files: readonly CredentialFile[]): boolean {
    const secrets = new Map<string, string>();
    for (const [name, value] of this.#options.values ?? []) this.#add(secrets, name, value);
    for (const file of files.slice(0, FILES_MAX)) {
      const text = this.#isServed(file.name) ? readCredential(file) : undefined;
      if (text === "changed") return false;
      if (text !== undefined) this.#add(secrets, file.name, text.secret);
    }
    if (files.length > FILES_MAX) this.#report("", `more than ${FILES_MAX} files`);
    const before = this.#secrets;
    this.#retire(secrets);
    this.#secrets = secrets;
    for (const [name, secret] of secrets) {
      if (this.#isOpen && before.get(name) !== secret) this.#options.onTaken?.(name);
    }
    return true;
  }

  #isServed(name: string): boolean {
    const { teams } = this.#options;
    const team = name.includes(".") ? name.slice(0, name.indexOf(".")) : undefined;
    if (teams === undefined || team === undefined || teams.includes(team)) return true;
    this.#report(name, "is of a team that this node does not serve");
    return false;
  }

  #add(secrets: Map<string, string>, name: string, value: string | undefined): void {
    if (!isCredentialName(name)) {
      this.#report(name, "is not a credential's name");
    } else if (value !== undefined && SECRET.test(value)) {
      secrets.set(name, value);
      this.#problems.delete(name);
    } else {
      const before = this.#secrets.get(name);
      const kept = before === undefined ? "there is none" : "the one before stays";
      this.#report(name, `does not hold 8 to 4096 visible ASCII characters; ${kept}`);
      if (before === undefined) secrets.delete(name);
      else secrets.set(name, before);
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

/** `<name>`, or `<team>.<name>`: neither part has a dot. */
function isCredentialName(name: string): boolean {
  const parts = name.split(".");
  return parts.length <= 2 && parts.every(isName);
}

type CredentialFile = { readonly name: string; readonly path: string; readonly stamp: string };

/**
 * Regular files of the folder. Names that begin with a dot are how Kubernetes swaps a mount.
 *
 * @throws The system's error, unless there is no folder.
 */
function listFiles(directory: string): readonly CredentialFile[] {
  const files: CredentialFile[] = [];
  for (const name of namesIn(directory)) {
    if (name.startsWith(".")) continue;
    const path = join(directory, name);
    const stamp = stampOf(path);
    if (stamp !== undefined) files.push({ name, path, stamp });
  }
  return files;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

function stampOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isFile() !== true) return undefined;
  return `${found.mtimeMs} ${found.size} ${found.ino}`;
}

/** A secret that is undefined cannot be read. */
function readCredential({
  path,
  stamp,
}: CredentialFile): { readonly secret: string | undefined } | "changed" {
  try {
    const text = readBounded(path);
    return stampOf(path) === stamp ? { secret: text } : "changed";
  } catch {
    return { secret: undefined };
  }
}

function readBounded(path: string): string | undefined {
  const { size } = statSync(path);
  return size > FILE_BYTES_MAX ? undefined : readFileSync(path, "utf8").trim();
}
