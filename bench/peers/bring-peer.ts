import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, runCommand } from "../../scripts/run-command.ts";
import { NotToBeHad, type Peer } from "./peer.ts";

const PEERS = join(ROOT, ".tools", "peers");
/** A virtual environment with all that LiteLLM's proxy wants takes minutes on a slow disk. */
const STEP_TIMEOUT_MS = 900_000;
const LAST_LINES = 3;

/**
 * The folder of a peer of exactly this version, installed first where it is missing.
 *
 * @throws NotToBeHad It cannot be installed here.
 */
export async function bringPeer(peer: Peer): Promise<string> {
  const folder = join(PEERS, `${peer.name}-${peer.version.replaceAll(/[^\w.+-]/g, "_")}`);
  const whole = join(folder, ".whole");
  if (existsSync(whole)) return folder;
  // Only what was installed to its end has the mark. It is not moved into its place afterwards,
  // since a virtual environment knows its own path.
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await peer.bring(folder);
  writeFileSync(whole, `${peer.origin} ${peer.version}\n`);
  return folder;
}

/**
 * One step of an installation.
 *
 * @throws NotToBeHad The step failed; the message ends with the last that it said.
 */
export async function bringStep(
  program: string,
  args: readonly string[],
  of: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<string> {
  const { code, output } = await runCommand(program, args, { ...of, timeoutMs: STEP_TIMEOUT_MS });
  if (code === 0) return output;
  const last = output.trim().split("\n").slice(-LAST_LINES).join(" | ");
  throw new NotToBeHad(`${program} ${args[0] ?? ""}: ${last}`);
}
