// Writes the test vectors of contracts: `npm run vectors`.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { chainVectors } from "./contract-vectors/chains.ts";
import { latticeVectors } from "./contract-vectors/lattice.ts";
import { ROOT } from "./run-command.ts";

const FOLDER = join(ROOT, "authority", "vectors");

for (const [name, make] of [
  ["chains", chainVectors],
  ["lattice", latticeVectors],
] as const) {
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(make(), undefined, 2)}\n`);
  console.log(`wrote authority/vectors/${name}.json`);
}
