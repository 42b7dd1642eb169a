import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileKeys } from "../../adapters/file-keys.ts";
import { type LogPolicy, parseLogPolicy } from "../../audit/log-policy.ts";
import { KEY_TYPES, parseVkey, type VerifierKey, verifierKey } from "../../audit/signed-note.ts";
import { CHECKPOINT_PATH, type LogReader } from "../../audit/tiles.ts";
import { WITNESSED_PATH } from "../../audit/witnessed.ts";
import { archiveFolder } from "../../coordinator/config.ts";
import { keysPath } from "../../coordinator/found-mesh.ts";
import { OPERATIONS_KEY, operationsFolder } from "../../coordinator/operations/operations-log.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { CommandError } from "../command-context.ts";

/** Folders that are looked through for logs, so that no link leads for ever. */
const DEPTH_MAX = 8;

/** A log on this machine's disk. */
export type LogPlace = {
  readonly dir: string;
  /** What its folder says it is; its checkpoint must say the same. */
  readonly origin: string;
};

/** Logs below a folder: every folder with a checkpoint in it. */
export function logsBelow(dir: string): readonly LogPlace[] {
  const found: LogPlace[] = [];
  const look = (folder: string, depth: number): void => {
    const entries = readdirSync(folder, { withFileTypes: true });
    if (entries.some((entry) => entry.isFile() && entry.name === CHECKPOINT_PATH)) {
      found.push({ dir: folder, origin: relative(dir, folder).split(sep).join("/") });
      return;
    }
    if (depth === DEPTH_MAX) return;
    for (const entry of entries) if (entry.isDirectory()) look(join(folder, entry.name), depth + 1);
  };
  try {
    look(dir, 0);
  } catch (cause) {
    const why = errorMessage(cause);
    throw new CommandError(`${dir} cannot be read: ${why}`);
  }
  return found.sort((a, b) => (a.origin < b.origin ? -1 : 1));
}

/** Where a node keeps its logs, under the HOME it was started with. */
export function nodeLogFolder(home: string): string {
  return join(home, "node", "log");
}

/** Which logs a command is about. */
export type LogChoice = {
  /** A folder with logs. */
  readonly offline?: string;
  /** The copies of all nodes' logs that the coordinator of this HOME keeps. */
  readonly archive?: boolean;
  /** The own log of the coordinator of this HOME. */
  readonly own?: boolean;
};

/** The folder that is meant; without a choice it is that of this HOME's node. */
export function chosenFolder(home: string, { offline, archive, own }: LogChoice): string {
  const named = [offline !== undefined, archive === true, own === true].filter(Boolean);
  if (named.length > 1) {
    throw new CommandError("--offline, --archive and --own name different places", 2);
  }
  if (own === true) return operationsFolder(home);
  return offline ?? (archive === true ? archiveFolder(home) : nodeLogFolder(home));
}

/** The files of a log. What cannot be read counts as missing, which a verifier reports. */
export function readerOf(dir: string): LogReader {
  return {
    read: (path) => {
      try {
        return readFileSync(join(dir, path));
      } catch {
        return undefined;
      }
    },
  };
}

/** The same, with what witnesses outside have cosigned of a node's log, which lies beside the copy of it. */
export function readerBeside(home: string, { dir, origin }: LogPlace): LogReader {
  const own = readerOf(dir);
  if (!dir.startsWith(nodeLogFolder(home))) return own;
  const copy = readerOf(join(archiveFolder(home), origin));
  return {
    // The node hears of it later, and not of every line.
    read: (path) => (path === WITNESSED_PATH ? copy.read(path) : undefined) ?? own.read(path),
  };
}

/**
 * Keys and quorum from a file: a policy as c2sp.org/tlog-policy has it, or the keys of logs alone,
 * one `name+id+key` a line.
 */
export function readKeysFile(path: string): LogPolicy {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const why = errorMessage(cause);
    throw new CommandError(`${path} cannot be read: ${why}`);
  }
  const lines = bytes.toString("utf8").split("\n");
  const words = lines.map((line) => line.trim()).filter((line) => !/^(#.*)?$/.test(line));
  if (words.some((line) => /^(log|quorum)\s/.test(line))) {
    const policy = parseLogPolicy(bytes);
    if (!policy.ok) throw new CommandError(`${path}: ${policy.flaw}: ${policy.detail}`);
    return policy.value;
  }
  const logs = words.map((line) => {
    const key = parseVkey(line);
    if (!key.ok) throw new CommandError(`${path}: ${key.flaw}: ${line.slice(0, 80)}`);
    if (key.value.type !== KEY_TYPES.log)
      throw new CommandError(`${path}: ${line} is no log's key`);
    return key.value;
  });
  if (logs.length === 0) throw new CommandError(`${path} holds no key`);
  return { logs, witnesses: [], quorum: undefined };
}

/** Public keys of the logs that node and coordinator of this HOME sign themselves. */
export function ownKeys(home: string, places: readonly LogPlace[]): readonly VerifierKey[] {
  const nodeKeys = fileKeys(join(home, "node", "keys"));
  return places.flatMap(({ dir, origin }) => {
    const epoch = /\/e([1-9][0-9]*)$/.exec(origin)?.[1];
    const isCoordinators = dir.startsWith(operationsFolder(home));
    const signer = isCoordinators
      ? fileKeys(keysPath(home)).load(OPERATIONS_KEY)
      : epoch && nodeKeys.load(`log-e${epoch}`);
    return signer ? [verifierKey(origin, KEY_TYPES.log, signer.publicKey)] : [];
  });
}

/** Logs that this HOME's node and its coordinator keep of themselves, as far as it has them. */
export function homeLogs(home: string): readonly LogPlace[] {
  return [nodeLogFolder(home), operationsFolder(home)].filter(existsSync).flatMap(logsBelow);
}

/** A checkpoint that somebody kept, and where it was read. */
export type CheckpointFile = { readonly path: string; readonly bytes: Buffer };

/** Files of a folder whose names end in `.checkpoint`. */
export function checkpointFiles(dir: string): readonly CheckpointFile[] {
  try {
    const names = readdirSync(dir).filter((name) => name.endsWith(".checkpoint"));
    return names.map((name) => ({ path: join(dir, name), bytes: readFileSync(join(dir, name)) }));
  } catch (cause) {
    const why = errorMessage(cause);
    throw new CommandError(`${dir} cannot be read: ${why}`);
  }
}
