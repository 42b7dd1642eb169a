import { randomBytes } from "node:crypto";
import type { Random } from "../ports/random.ts";

/** The operating system's random bytes. */
export const cryptoRandom: Random = { bytes: (count) => randomBytes(count) };
