// Brings the programs that measure, serve and verify beside us, each pinned by version and hash, into
// .tools/bin: `npm run tools`. What is gated by them is skipped in plain sight where there is no Go.
//
// `--own-go` ignores the machine's Go and brings the pinned one. Names bring these tools alone.

import { parseArgs } from "node:util";
import { bringTools } from "./bring-tools.ts";
import { findGo } from "./go-toolchain.ts";

const { values: flags, positionals } = parseArgs({
  options: { "own-go": { type: "boolean", default: false } },
  allowPositionals: true,
});

await bringTools({
  go: () => findGo({ ownOnly: flags["own-go"] }),
  ...(positionals.length > 0 && { names: positionals }),
});
