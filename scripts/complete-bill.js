// Reads the bill of materials that npm writes and adds what npm knows nothing of: libraries that lie compiled in a
// package. A plain program, because the image's stage that runs it has Debian's Node:
//
//   npm sbom --omit=dev --sbom-format cyclonedx | node scripts/complete-bill.js > sbom.cdx.json

import { readFileSync } from "node:fs";

/** By the package in whose binaries they are. Their licences' texts are in NOTICE. */
const WITHIN = {
  "sodium-native": { name: "libsodium", version: "1.0.21", licence: "ISC" },
};

const bill = JSON.parse(readFileSync(0, "utf8"));
for (const [around, { name, version, licence }] of Object.entries(WITHIN)) {
  const package_ = bill.components.find((one) => one.name === around);
  if (package_ === undefined) throw new Error(`the bill has no ${around}, which brought ${name}`);
  const ref = `pkg:generic/${name}@${version}`;
  bill.components.push({
    ...{ "bom-ref": ref, type: "library", name, version, purl: ref },
    licenses: [{ license: { id: licence } }],
  });
  bill.dependencies.push({ ref, dependsOn: [] });
  const of = bill.dependencies.find((one) => one.ref === package_["bom-ref"]);
  if (of === undefined) throw new Error(`the bill says of ${around} not what it depends on`);
  of.dependsOn = [...(of.dependsOn ?? []), ref];
}
process.stdout.write(`${JSON.stringify(bill, null, 2)}\n`);
