import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const APT = "/usr/bin/apt-get";
const PROGRAMS = ["ip", "nft", "python3", "cc", "make", "setpriv", "nsenter"];

/** Debian's packages of all programs that the tests of the kernel's part start. */
export const KERNEL_PACKAGES: readonly string[] = [
  ...["nftables", "iproute2", "python3", "gcc", "libc6-dev"],
  ...["linux-libc-dev", "make", "util-linux"],
];

/** What compiles and loads the optional programs for the kernel, and Debian's packages of it. */
export const EBPF_PROGRAMS: readonly string[] = ["clang", "bpftool", "make"];
export const EBPF_PACKAGES: readonly string[] = ["clang", "bpftool", "libbpf-dev", "make"];

/**
 * Brings what is missing, once and before any test starts, where root runs on Debian in CI. Elsewhere, and
 * where it cannot be brought, the tests that need it say so.
 */
export function setup(): void {
  if (!process.env.CI || process.getuid?.() !== 0 || !existsSync(APT)) return;
  // Two lists, so that one of which a package cannot be had does not keep the other away.
  bring(PROGRAMS, KERNEL_PACKAGES);
  bring(EBPF_PROGRAMS, EBPF_PACKAGES);
}

function bring(programs: readonly string[], packages: readonly string[]): void {
  const isThere = (program: string) => spawnSync("which", [program]).status === 0;
  const missing = programs.filter((program) => !isThere(program));
  if (missing.length === 0) return;
  console.log(`${missing.join(", ")}: missing, installing Debian's packages`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  if (spawnSync(APT, install, { env, stdio: "inherit" }).status === 0) return;
  spawnSync(APT, ["update"], { env, stdio: "inherit" });
  spawnSync(APT, install, { env, stdio: "inherit" });
}
