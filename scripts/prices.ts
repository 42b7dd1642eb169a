// Takes the published prices and signs them: `npm run prices -- --key FILE`.
//
//   --key FILE   the maintainer's private key, PEM, outside of this repository
//   --new-key    makes that key first; its public half replaces policy/price-maintainer.json
//   --sign-only  signs the snapshot as it stands
//
// Run by hand: what comes out is reviewed, price by price, and committed.

import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { flawOfPrices, PRICE_FILES, signedPriceBytes } from "../policy/price-signature.ts";
import { PRICE_PACKAGE, takePrices } from "./prices/take-prices.ts";
import { ROOT, runCommand } from "./run-command.ts";

const { values: flags } = parseArgs({
  options: {
    key: { type: "string" },
    "new-key": { type: "boolean", default: false },
    "sign-only": { type: "boolean", default: false },
  },
});
if (flags.key === undefined) throw new Error("name the maintainer's key: --key FILE");
const keyFile = outside(flags.key);
if (flags["new-key"]) makeKey(keyFile);
const privateKey = createPrivateKey(readFileSync(keyFile));
if (!flags["sign-only"]) write("snapshot", await newPrices());
const snapshot = read("snapshot");
write("signature", {
  ed25519: sign(null, signedPriceBytes(snapshot), privateKey).toString("base64"),
});
const flaw = flawOfPrices({
  snapshot,
  signature: read("signature"),
  publicKey: read("publicKey"),
});
// Another maintainer's key: the signature is kept from nobody, but it does not count.
if (flaw !== undefined) throw new Error(`${flaw}; a new maintainer starts with --new-key`);
console.log(`signed ${PRICE_FILES.snapshot}; review it with git diff, and commit both files`);

/** A private key that lies in the repository is one commit away from everybody. */
function outside(path: string): string {
  const full = join(realpathSync(dirname(resolve(path))), relative(dirname(path), path));
  if (!relative(realpathSync(ROOT), full).startsWith("..")) {
    throw new Error(`${path} is in the repository: keep the private key elsewhere`);
  }
  return full;
}

/** @throws If the file is there: a key is never written over. */
function makeKey(path: string): void {
  const pair = generateKeyPairSync("ed25519");
  const pem = pair.privateKey.export({ format: "pem", type: "pkcs8" });
  writeFileSync(path, pem, { mode: 0o600, flag: "wx" });
  write("publicKey", createPublicKey(pair.privateKey).export({ format: "jwk" }));
  console.log(
    `made ${path}, which only you can read; guard it, and commit ${PRICE_FILES.publicKey}`,
  );
}

async function newPrices(): Promise<object> {
  const folder = mkdtempSync(join(tmpdir(), "altrace-prices-"));
  try {
    const args = ["install", "--prefix", folder, "--ignore-scripts", "--no-audit", PRICE_PACKAGE];
    const { code, output } = await runCommand("npm", args, { cwd: folder });
    if (code !== 0) throw new Error(`npm could not bring ${PRICE_PACKAGE}:\n${output}`);
    return await takePrices(folder, new Date().toISOString().slice(0, 10));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function read(file: keyof typeof PRICE_FILES): unknown {
  return JSON.parse(readFileSync(join(ROOT, PRICE_FILES[file]), "utf8"));
}

function write(file: keyof typeof PRICE_FILES, value: unknown): void {
  writeFileSync(join(ROOT, PRICE_FILES[file]), `${JSON.stringify(value, null, 2)}\n`);
}
