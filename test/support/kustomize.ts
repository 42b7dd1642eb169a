import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

const ROOT = join(import.meta.dirname, "..", "..");
const OWN = join(ROOT, ".tools", "bin", "kustomize");

/** One object of a built overlay. */
export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [member: string]: unknown;
};

/** The program that builds overlays, as words: ours, the machine's, or kubectl's own. */
export function kustomizeCommand(): readonly string[] | undefined {
  const candidates = [
    ...(existsSync(OWN) ? [[OWN, "build"]] : []),
    ["kustomize", "build"],
    ["kubectl", "kustomize"],
  ];
  return candidates.find(([program = ""]) => {
    const { error } = spawnSync(program, ["version", "--client"], { encoding: "utf8" });
    return error === undefined;
  });
}

/** Builds one overlay. @throws Error It does not build; the message is the program's. */
export function builtOverlay(command: readonly string[], name: string): readonly Manifest[] {
  const [program = "", ...words] = command;
  const folder = join(ROOT, "deploy", "kustomize", "overlays", name);
  const { status, stdout, stderr } = spawnSync(program, [...words, folder], {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(`${name} does not build: ${stderr}`);
  return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
}
