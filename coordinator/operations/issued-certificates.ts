import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { recordable } from "../../audit/record.ts";
import { type Store, StoreFault } from "../../ports/store.ts";
import { certificateReadKey } from "../store-keys.ts";
import type { NoteCall } from "./recorded-calls.ts";

/**
 * A certificate as `altrace certificate` notes it in HOME, one JSON object a line, before it writes the
 * certificate itself. The authority's key needs no coordinator that runs, so the coordinator reads it later.
 */
export type IssuedCertificate = {
  readonly name: string;
  /** A role, or `server`. */
  readonly role: string;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  /** Wall clock, ms since the Unix epoch. */
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
};

/** Bytes that are read at a time; lines are a few hundred. */
const READ_BYTES_MAX = 64 * 1024;

/** Brings certificates that were issued in this HOME into the coordinator's own log, each once. */
export class IssuedCertificates {
  readonly #options: { readonly path: string; readonly store: Store; readonly note: NoteCall };
  #isLooking = false;

  constructor(options: {
    readonly path: string;
    readonly store: Store;
    readonly note: NoteCall;
  }) {
    this.#options = options;
  }

  /** Reads what is new. What could not be written down is looked at again by the next call. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      await this.#readOn();
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
    } finally {
      this.#isLooking = false;
    }
  }

  async #readOn(): Promise<void> {
    const { path, store, note } = this.#options;
    let at = Number(Buffer.from(store.get(certificateReadKey) ?? []).toString() || 0);
    for (const line of wholeLines(path, at)) {
      at += Buffer.byteLength(line) + 1;
      const issued = parseIssued(line);
      const said = issued && {
        who: recordable(issued.name),
        role: issued.role,
        crt: issued.fingerprint,
      };
      const rc = issued === undefined ? "malformed" : "ok";
      const fault = await note({ op: "issue_certificate", rc, via: "home", ...said });
      if (fault !== undefined) return;
      await store.commit([{ key: certificateReadKey, value: Buffer.from(String(at)) }]);
    }
  }
}

/** The line that stands in the file. */
export function issuedLine(issued: IssuedCertificate): string {
  return `${JSON.stringify(issued)}\n`;
}

/** Reads a line; undefined for what `issuedLine` did not write. */
export function parseIssued(line: string): IssuedCertificate | undefined {
  try {
    const { name, role, fingerprint, issuedAtMs, notAfterMs } = JSON.parse(line);
    const isOne =
      typeof name === "string" &&
      /^[a-z]{1,32}$/.test(role) &&
      /^[0-9a-f]{64}$/.test(fingerprint) &&
      Number.isSafeInteger(issuedAtMs) &&
      Number.isSafeInteger(notAfterMs);
    return isOne ? { name, role, fingerprint, issuedAtMs, notAfterMs } : undefined;
  } catch {
    return undefined;
  }
}

/** Lines from an offset on; the last one only once its end is there. */
function wholeLines(path: string, at: number): readonly string[] {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  try {
    if (fstatSync(fd).size <= at) return [];
    const bytes = Buffer.alloc(READ_BYTES_MAX);
    const count = readSync(fd, bytes, 0, bytes.length, at);
    return bytes.subarray(0, count).toString("utf8").split("\n").slice(0, -1);
  } finally {
    closeSync(fd);
  }
}
