import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT, runCommand } from "../run-command.ts";

/** Images and layers of these builds alone; whoever has images of their own finds them untouched. */
const STORE = join(ROOT, ".tools", "image");
const BASE = "localhost/altrace-base";
export const IMAGE = "localhost/altrace-tried";
const SUITE = "trixie";
/** Where a base finds whom its own machine trusts, for registries behind an authority that others do not know. */
const TRUSTED = "/etc/ssl/certs/trusted-by-builder.crt";
const BUILD_MS = 1_200_000;

/** Runs buildah without a daemon. @throws Error It ended with anything but 0; the text says what it said. */
export async function buildah(...args: readonly string[]): Promise<string> {
  const places = ["--root", join(STORE, "layers"), "--runroot", join(STORE, "run")];
  const { code, output } = await runCommand("buildah", [...places, ...args], {
    timeoutMs: BUILD_MS,
    env: { BUILDAH_ISOLATION: "chroot" },
  });
  if (code !== 0) throw new Error(`buildah ${args[0]} ends with ${code}\n${output.slice(-4_000)}`);
  // What it tells people stands before what was asked for.
  return output.trimEnd().split("\n").at(-1) ?? "";
}

/**
 * Builds the Dockerfile as it is.
 *
 * @param base The base image; undefined makes one of Debian's packages, for machines that reach no registry of images.
 */
export async function buildImage(base: string | undefined): Promise<void> {
  const from = base ?? (await debianBase());
  const pulled = base === undefined ? ["--pull-never"] : [];
  await buildah(
    ...["bud", "--layers", "--network", "host", ...pulled, "--build-arg", `BASE=${from}`],
    ...["-f", "deploy/Dockerfile", "-t", IMAGE, ROOT],
  );
}

async function debianBase(): Promise<string> {
  const archive = join(STORE, `${SUITE}.tar`);
  mkdirSync(STORE, { recursive: true });
  if (!existsSync(archive)) {
    // What images of the slim kind leave out, this leaves out too: it is no larger than they are in packages.
    const made = await runCommand("mmdebstrap", ["--variant=minbase", SUITE, `${archive}.part`]);
    if (made.code !== 0) throw new Error(made.output);
    await runCommand("mv", [`${archive}.part`, archive]);
  }
  const box = await buildah("from", "scratch");
  await buildah("add", "--quiet", box, archive, "/");
  const authorities = process.env.NODE_EXTRA_CA_CERTS;
  if (authorities !== undefined && existsSync(authorities)) {
    await buildah("copy", "--quiet", box, authorities, TRUSTED);
    await buildah("config", "--env", `NODE_EXTRA_CA_CERTS=${TRUSTED}`, box);
  }
  await buildah("commit", "--quiet", "--rm", box, BASE);
  return BASE;
}
