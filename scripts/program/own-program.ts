import { ROOT } from "../run-command.ts";
import { buildProgram } from "./build-program.ts";

/** Builds Altrace itself. */
export function buildOwnProgram(): Promise<string> {
  return buildProgram({ root: ROOT, main: "cli/main.ts", also: ALSO });
}

/** How it is built, and by npm's own account the versions of all packages. */
const ALSO = [
  "scripts/program/build-program.ts",
  "scripts/program/own-program.ts",
  "scripts/program/read-sources.ts",
  "node_modules/.package-lock.json",
];
