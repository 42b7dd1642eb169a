import { existsSync } from "node:fs";
import { join } from "node:path";
import { areGoProgramsRequired } from "./go-programs.ts";

const CURRENT = join(import.meta.dirname, "..", "..", ".tools", "bin", "nats-server");

/** A nats-server that tests are run on. */
export type NatsProgram = {
  /** For titles. */
  readonly name: string;
  /** `undefined`: the one from PATH, which is Debian's where that is installed. */
  readonly program: string | undefined;
  /** Why tests on it are skipped; `undefined`: it is here. */
  readonly absent: string | undefined;
};

/** What most machines have, and the oldest that the mesh runs on. */
export const NATS_ON_PATH: NatsProgram = {
  name: "nats-server from PATH",
  program: undefined,
  absent: undefined,
};

/**
 * The current server, which `npm run tools` compiles. Where CI is set and Go is there it could have
 * been brought, so it is not skipped: its absence fails the tests, unless the proxy was not reached.
 */
export const NATS_CURRENT: NatsProgram = {
  name: "current nats-server",
  program: CURRENT,
  absent: existsSync(CURRENT) || areGoProgramsRequired() ? undefined : "npm run tools brings it",
};

export const NATS_PROGRAMS: readonly NatsProgram[] = [NATS_ON_PATH, NATS_CURRENT];
