import type { HostCommand } from "./host-command.ts";
import type { ShownRule } from "./policy-routes.ts";
import { RuleFault } from "./rule-keeper.ts";
import { sidecarRoutes, sidecarRuleset } from "./sidecar-ruleset.ts";

/** Ports of a node that its agent must not reach, although it shares its network: gRPC and metrics. */
const CLOSED_PORTS = [4_090, 4_091];

/** Puts the rules of one pod in force; may be repeated. @throws RuleFault A program refused. */
export async function loadSidecar(run: HostCommand, link: string): Promise<void> {
  const must = async (program: string, args: readonly string[], input?: string) => {
    const { code, output, errors } = await run(program, args, input);
    if (code !== 0) throw new RuleFault(`${program} ${args.join(" ")}: ${errors.trim()}`);
    return output;
  };
  for (const words of sidecarRoutes()) {
    const [family = "", what, , , priority] = words;
    const shown = await must("ip", ["-j", family, "rule", "show"]);
    const rules = JSON.parse(shown || "[]") as readonly ShownRule[];
    const isThere = what === "rule" && rules.some((one) => String(one.priority) === priority);
    if (!isThere) await must("ip", words);
  }
  await must("nft", ["-f", "-"], sidecarRuleset({ link, closedPorts: CLOSED_PORTS }));
}
