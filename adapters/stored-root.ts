import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { replaceDurably } from "./durable-file.ts";
import type { Authority } from "./x509-authority.ts";

/** Names of a root's two files in HOME. */
export type RootFiles = { readonly certificate: string; readonly key: string };

const ROOT_MS = 5 * 365 * 24 * 60 * 60_000;

/** The root that lies in `home`; it is made where there is none. */
export async function openRoot(of: {
  readonly home: string;
  readonly files: RootFiles;
  readonly name: string;
  readonly nowMs: number;
}): Promise<Authority> {
  return readRoot(of.home, of.files) ?? (await foundRoot(of));
}

function readRoot(home: string, files: RootFiles): Authority | undefined {
  // The certificate is written last: without it the root was never shown to anybody.
  if (!existsSync(join(home, files.certificate))) return undefined;
  return {
    certificate: readFileSync(join(home, files.certificate), "utf8"),
    privateKey: readFileSync(join(home, files.key), "utf8"),
  };
}

async function foundRoot(of: {
  readonly home: string;
  readonly files: RootFiles;
  readonly name: string;
  readonly nowMs: number;
}): Promise<Authority> {
  const { createRoot } = await import("./x509-authority.ts");
  const root = await createRoot({ name: of.name, nowMs: of.nowMs, validMs: ROOT_MS });
  replaceDurably(join(of.home, of.files.key), root.privateKey, 0o600);
  replaceDurably(join(of.home, of.files.certificate), root.certificate, 0o644);
  return root;
}
