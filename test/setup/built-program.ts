import { buildOwnProgram } from "../../scripts/program/own-program.ts";

/** The processes that tests start are what `npm start` is: the program that was built, of these sources. */
export async function setup(): Promise<void> {
  await buildOwnProgram();
}
