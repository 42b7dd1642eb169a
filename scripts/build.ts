// Builds the program that `npm start` runs: fewer files than there are sources, and so a start that takes half as much.
// Where one lies there that was built of these sources it does nothing. `npm ci` runs it, and so do the tests.

import { relative } from "node:path";
import { buildOwnProgram } from "./program/own-program.ts";
import { ROOT } from "./run-command.ts";

const program = await buildOwnProgram();
process.stdout.write(`the program of these sources is ${relative(ROOT, program)}\n`);
