import { existsSync, lstatSync } from "node:fs";
import { join } from "node:path";
import { fileKeys } from "../../adapters/file-keys.ts";
import { SOCKET_PATH_BYTES_MAX } from "../../adapters/instance-lock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { type Finding, fail, ok, skip, warn } from "./finding.ts";

const OTHERS = 0o077;
/** Folders of keys below HOME, and the keys that may lie there: one process's or both of `up`. */
const KEYS: readonly (readonly [folder: string, name: string])[] = [
  ["", "operator"],
  ["keys", "coordinator"],
  ["keys", "enrolment"],
  ["keys", "node"],
  ["node/keys", "node"],
];

/** The folder, who may look into it, and the keys that lie there. Nothing is made or changed. */
export function checkHome(home: string): readonly Finding[] {
  const stat = lstatSync(home, { throwIfNoEntry: false });
  if (stat === undefined)
    return [skip("home", `${home} is not there yet: the first start makes it`)];
  if (!stat.isDirectory()) return [fail("home", `${home} is no folder`, "choose another --home")];
  return [access(home, stat), socketPath(home), ...keyFindings(home)];
}

function access(
  home: string,
  { mode, uid }: { readonly mode: number; readonly uid: number },
): Finding {
  const me = process.getuid?.();
  if (me !== undefined && uid !== me && me !== 0) {
    return fail(
      "home",
      `${home} belongs to user ${uid}`,
      "run as that user, or choose another --home",
    );
  }
  if ((mode & OTHERS) !== 0) {
    const bits = (mode & 0o777).toString(8);
    return fail("home", `${home} has mode ${bits}: others can look in`, `chmod 700 ${home}`);
  }
  return ok("home", `${home} is its owner's alone`);
}

function socketPath(home: string): Finding {
  const bytes = Buffer.byteLength(join(home, "coordinator.sock"));
  if (bytes <= SOCKET_PATH_BYTES_MAX) return ok("socket path", `${bytes} bytes`);
  const says = `${bytes} bytes, and ${SOCKET_PATH_BYTES_MAX} are the most`;
  return fail("socket path", says, "choose a --home with a shorter path");
}

function keyFindings(home: string): readonly Finding[] {
  const present = KEYS.filter(([folder, name]) => existsSync(join(home, folder, `${name}.key`)));
  if (present.length === 0) return [skip("keys", "none lie here")];
  const findings = present.map(([folder, name]) => key(join(home, folder), name));
  const names = present.map(([, name]) => name);
  if (!names.includes("operator") || !names.includes("coordinator")) return findings;
  const says = "operator's and coordinator's lie in one HOME: whoever has it has the mesh";
  return [...findings, warn("keys", says, "in a mesh of machines, keep operator.key elsewhere")];
}

function key(folder: string, name: string): Finding {
  const check = `${name}.key`;
  try {
    fileKeys(folder).load(name);
    return ok(check, "readable by its owner alone");
  } catch (error) {
    const says = errorMessage(error);
    return fail(
      check,
      says,
      `chmod 600 ${join(folder, check)}, or bring it back from where it is kept`,
    );
  }
}
