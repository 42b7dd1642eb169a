import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { recordable } from "../../audit/record.ts";
import type { Store } from "../../ports/store.ts";
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

export type IssuedCertificatesOptions = {
  readonly path: string;
  readonly store: Pick<Store, "get" | "commit">;
  readonly note: NoteCall;
  /** The list or the store cannot be read or written now; the next look tries again. */
  readonly onFault: (error: unknown) => void;
};

/** Brings certificates that were issued in this HOME into the coordinator's own log, each once. */
export class IssuedCertificates {
  readonly #options: IssuedCertificatesOptions;
  #isLooking = false;
  #isFailing = false;

  constructor(options: IssuedCertificatesOptions) {
    this.#options = options;
  }

  /** Reads what is new. What could not be written down is looked at again by the next call. Never rejects. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      await this.#readOn();
      this.#isFailing = false;
    } catch (error) {
      // Once for as long as it lasts: this is called every second.
      if (!this.#isFailing) this.#options.onFault(error);
      this.#isFailing = true;
    } finally {
      this.#isLooking = false;
    }
  }

  async #readOn(): Promise<void> {
    const { path, store, note } = this.#options;
    const read = Number(Buffer.from(store.get(certificateReadKey) ?? []).toString() || 0);
    const { from, lines } = wholeLines(path, read);
    let at = from;
    for (const line of lines) {
      at += line.length + 1;
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

/**
 * Lines from an offset on, a character for each byte; the last one only once its end is there. A file that is
 * shorter than what was read of it is another one, and is read from its beginning.
 */
function wholeLines(
  path: string,
  at: number,
): { readonly from: number; readonly lines: readonly string[] } {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { from: 0, lines: [] };
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const from = size < at ? 0 : at;
    // It is looked at every second, and hardly ever longer than before.
    const bytes = Buffer.alloc(Math.min(size - from, READ_BYTES_MAX));
    const count = readSync(fd, bytes, 0, bytes.length, from);
    return { from, lines: bytes.subarray(0, count).toString("latin1").split("\n").slice(0, -1) };
  } finally {
    closeSync(fd);
  }
}
