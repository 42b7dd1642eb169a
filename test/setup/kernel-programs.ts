import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const APT = "/usr/bin/apt-get";
const PROGRAMS = ["ip", "nft", "python3", "cc", "make", "setpriv", "nsenter"];

/** Debian's packages of all programs that the tests of the kernel's part start. */
export const KERNEL_PACKAGES: readonly string[] = [
  ...["nftables", "iproute2", "python3", "gcc", "libc6-dev"],
  ...["linux-libc-dev", "make", "util-linux"],
];

/**
 * Brings what is missing, once and before any test starts, where root runs on Debian in CI. Elsewhere, and
 * where it cannot be brought, the tests that need it say so.
 */
export function setup(): void {
  if (!process.env.CI || process.getuid?.() !== 0 || !existsSync(APT)) return;
  const isThere = (program: string) => spawnSync("which", [program]).status === 0;
  if (PROGRAMS.every(isThere)) return;
  console.log("programs for the kernel's part are missing: installing Debian's packages");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = ["install", "-y", "--no-install-recommends", ...KERNEL_PACKAGES];
  if (spawnSync(APT, install, { env, stdio: "inherit" }).status === 0) return;
  spawnSync(APT, ["update"], { env, stdio: "inherit" });
  spawnSync(APT, install, { env, stdio: "inherit" });
}
