import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import type { Disk } from "../ports/disk.ts";
import { syncFolder } from "./durable-file.ts";

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/** The machine's file system. */
export const machineDisk: Disk = {
  create: (path) => openSync(path, "wx", FILE_MODE),
  recreate: (path) => openSync(path, "w", FILE_MODE),
  open: (path) => openSync(path, "r+"),
  write: (fd, bytes, at) => writeSync(fd, bytes, 0, bytes.length, at),
  read: (fd, into, at) => readSync(fd, into, 0, into.length, at),
  size: (fd) => fstatSync(fd).size,
  truncate: (fd, bytes) => ftruncateSync(fd, bytes),
  syncData: (fd) => fdatasyncSync(fd),
  close: (fd) => closeSync(fd),
  list: (folder) => readdirSync(folder),
  makeFolder: (path) => {
    mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
  },
  rename: (from, to) => renameSync(from, to),
  remove: (path) => unlinkSync(path),
  removeFolder: (path) => rmdirSync(path),
  syncFolder,
  freeBytes: (folder) => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  },
};
