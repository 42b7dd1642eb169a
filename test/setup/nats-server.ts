import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");
const PROGRAM = "nats-server";
const APT = "/usr/bin/apt-get";
const HOW =
  "npm test needs a nats-server and there is none on PATH. Any of these brings one:\n" +
  "  npm run tools                        (needs no root; Go is brought along if there is none)\n" +
  "  apt-get install nats-server          (Debian and Ubuntu, as root)\n" +
  "  https://github.com/nats-io/nats-server/releases, unpacked into a folder on PATH";

/**
 * Makes sure, once and before any test starts, that there is a nats-server: tests start their own
 * from PATH, several of them at the same time, and two of them must not install it at once.
 *
 * What the machine has is preferred, then what `npm run tools` brought. Root on Debian gets the
 * distribution's package. Everybody else is told what to do, and no test runs: a suite that quietly
 * leaves out the real server would prove less than it says.
 */
export function setup(): void {
  const own = join(ROOT, ".tools", "bin");
  process.env.PATH = [process.env.PATH ?? "", "/usr/sbin", "/usr/local/bin", own].join(delimiter);
  if (isOnPath()) return;
  if (process.getuid?.() === 0 && existsSync(APT)) installPackage();
  if (!isOnPath()) throw new Error(HOW);
}

function isOnPath(): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, PROGRAM), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function installPackage(): void {
  console.log(`no ${PROGRAM} on PATH: installing Debian's package`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const run = (...args: string[]) => execFileSync(APT, args, { env, stdio: "inherit" });
  try {
    run("install", "-y", "--no-install-recommends", PROGRAM);
  } catch {
    // A fresh machine has no list of packages, or an old one.
    run("update");
    run("install", "-y", "--no-install-recommends", PROGRAM);
  }
}
