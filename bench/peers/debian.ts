import { readdirSync } from "node:fs";
import { join } from "node:path";
import { bringStep } from "./bring-peer.ts";

/**
 * Unpacks Debian packages, `name=version`, into a folder: nothing of the machine is changed, and
 * nobody has to be root. Debian keeps only the newest security update of a release, so an older pin is
 * refused by the archive one day, and then the pin is what has to be renewed.
 */
export async function unpackDebian(folder: string, packages: readonly string[]): Promise<void> {
  await bringStep("apt-get", ["download", ...packages], { cwd: folder });
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb"))) {
    await bringStep("dpkg-deb", ["-x", file, "."], { cwd: folder });
  }
}

/** Where unpacked libraries lie, as the loader wants to be told. */
export function unpackedLibraries(folder: string): string {
  const libraries = join(folder, "usr", "lib");
  return readdirSync(libraries)
    .filter((name) => name.includes("-linux-"))
    .map((name) => join(libraries, name))
    .join(":");
}
