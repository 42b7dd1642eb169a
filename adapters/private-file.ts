import { closeSync, fstatSync, linkSync, openSync, readFileSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { makeFolderDurably, syncFolder, writeDurably } from "./durable-file.ts";

/** A key file that is there and cannot be used, or cannot be made. */
export class KeyFileFault extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "KeyFileFault";
  }
}

/**
 * What lies in a file that holds a secret; undefined where there is none.
 *
 * @throws KeyFileFault Others than its owner may read it, or it cannot be read.
 */
export function readPrivateFile(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new KeyFileFault(`${path} cannot be opened`, { cause });
  }
  try {
    if ((fstatSync(fd).mode & 0o077) !== 0) {
      throw new KeyFileFault(`${path} is open to others: chmod 600 it, or make a new key`);
    }
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Puts a secret into a file of mode 0600 in a folder of mode 0700. It appears whole or not at all, and
 * of two processes that race the first one's stays: read it back.
 *
 * @throws KeyFileFault It could not be written.
 */
export function createPrivateFile(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.new`;
  try {
    makeFolderDurably(dirname(path));
    writeDurably(temporary, text, 0o600);
    linkIfAbsent(temporary, path);
    unlinkSync(temporary);
    syncFolder(dirname(path));
  } catch (cause) {
    throw new KeyFileFault(`${path} cannot be written`, { cause });
  }
}

function linkIfAbsent(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
