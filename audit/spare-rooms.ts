/** Rooms that are kept; at 10,000 records a second some 40 are in use between two checkpoints. */
const KEPT_MAX = 64;
/**
 * Bytes of a room that is kept, four times what a usual bundle takes. Of entries as large as they may be a room grows
 * to 6 MB, and whoever writes such ones could have every room grow.
 */
const KEPT_BYTES_MAX = 1024 * 1024;

/**
 * Rooms of bundles whose files are on the disk, for bundles to come: new memory of that size costs more than a
 * copy of it, and makes V8 collect all it has.
 */
export class SpareRooms {
  readonly #rooms: Buffer[] = [];

  /** Room whose content counts for nothing; undefined: there is none. */
  take(): Buffer | undefined {
    return this.#rooms.pop();
  }

  /** Nothing may be read from them any more. */
  give(rooms: readonly Buffer[]): void {
    const kept = rooms.filter((room) => room.length <= KEPT_BYTES_MAX);
    this.#rooms.push(...kept.slice(0, KEPT_MAX - this.#rooms.length));
  }
}
