import { createHash } from "node:crypto";
import { join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { crc32c } from "../../audit/crc32c.ts";
import { type Disk, openIfThere, readInto } from "../../ports/disk.ts";
import { PERSONS_FOLDER } from "./person-keys.ts";

const FILE = "orders";
const NAME_BYTES = 32;
/** A name and its check. */
const ENTRY_BYTES = NAME_BYTES + 4;

/**
 * Orders to erase a person that were carried out in this home. They lie beside the keys, so that a backup brings
 * back both or neither. What is damaged was not carried out: then all keys go once more.
 */
export class CarriedOrders {
  readonly #disk: Disk;
  readonly #fd: number;
  readonly #names = new Set<string>();
  #endBytes = 0;

  /** @throws What the disk reports. The folder of keys must be there. */
  constructor(disk: Disk, home: string) {
    const folder = join(home, PERSONS_FOLDER);
    const path = join(folder, FILE);
    this.#disk = disk;
    const fd = openIfThere(disk, path);
    this.#fd = fd ?? disk.create(path);
    if (fd === undefined) disk.syncFolder(folder);
    this.#load();
  }

  has(scope: string): boolean {
    return this.#names.has(nameOf(scope).toString("hex"));
  }

  /** @throws AuditFault, or what the disk reports: it was not taken down, and the same again does it. */
  add(scope: string): void {
    if (this.has(scope)) return;
    const name = nameOf(scope);
    const entry = Buffer.alloc(ENTRY_BYTES);
    name.copy(entry);
    entry.writeUInt32BE(crc32c(name), NAME_BYTES);
    const written = this.#disk.write(this.#fd, entry, this.#endBytes);
    if (written !== ENTRY_BYTES) throw new AuditFault(`${written} bytes of an order`);
    this.#disk.syncData(this.#fd);
    this.#endBytes += ENTRY_BYTES;
    this.#names.add(name.toString("hex"));
  }

  close(): void {
    this.#disk.close(this.#fd);
  }

  #load(): void {
    const count = Math.floor(this.#disk.size(this.#fd) / ENTRY_BYTES);
    const all = Buffer.alloc(count * ENTRY_BYTES);
    readInto(this.#disk, this.#fd, { into: all, at: 0 });
    for (let at = 0; at < all.length; at += ENTRY_BYTES) {
      const name = all.subarray(at, at + NAME_BYTES);
      if (all.readUInt32BE(at + NAME_BYTES) === crc32c(name)) this.#names.add(name.toString("hex"));
    }
    // Half an entry at the end is written over.
    this.#endBytes = all.length;
  }
}

function nameOf(scope: string): Buffer {
  return createHash("sha256").update(scope).digest();
}
