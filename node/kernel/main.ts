// The privileged process beside a node, started by the launcher with two netlink sockets:
//   altrace-launcher --netlink -- node cli/altrace.js enforcer --infra-links eth0 ...
// and, without the launcher, commands for operators:
//   altrace enforcer print       the rules as they would be loaded now
//   altrace enforcer uninstall   takes rules and routes away
//   altrace enforcer canary      the pod that tries to get out
//   altrace enforcer sidecar LINK TEAM/AGENT ADDRESS[,ADDRESS] FILE
//                                the rules within one pod, and a file that says who lives there
// Exit codes: 0 stopped as asked, 1 could not start, 2 wrong settings.

import { isIP } from "node:net";
import { pino } from "pino";
import { attemptWays } from "../../adapters/canary-attempts.ts";
import { serveCanary } from "../../adapters/canary-sockets.ts";
import { endWith } from "../../adapters/end-now.ts";
import { hostCommand } from "../../adapters/host-command.ts";
import { untilSignal } from "../../adapters/process-signals.ts";
import { readFlags, unknownSettings } from "../../adapters/settings.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { parseAgentId } from "../../proto/ids.ts";
import { readCanaryQuestion } from "./canary.ts";
import { settleAddresses } from "./contested.ts";
import { daemonsetRuleset } from "./daemonset-ruleset.ts";
import { podsOf, readNotes, startEnforcer, writePods } from "./enforcer-app.ts";
import { ENFORCER_SETTINGS, type EnforcerConfig, readEnforcerConfig } from "./enforcer-config.ts";
import { mapPods } from "./link-map.ts";
import { loadSidecar } from "./load-sidecar.ts";
import { readMachine } from "./machine-reader.ts";
import { RuleKeeper } from "./rule-keeper.ts";

const COMMANDS = ["print", "uninstall", "canary", "sidecar"] as const;
type EnforcerCommand = (typeof COMMANDS)[number];

const code = await run(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`altrace enforcer: ${errorMessage(error)}\n`);
  return 1;
});
// What was printed is flushed first. Then nothing may keep the process: neither a watch that hangs nor a helper that waits.
process.stdout.write("", () => endWith(code));

async function run(argv: readonly string[]): Promise<number> {
  const command = COMMANDS.find((word) => word === argv[0]);
  if (command === "uninstall") {
    await new RuleKeeper(hostCommand).uninstall();
    return 0;
  }
  if (command === "sidecar") return sidecar(argv.slice(1));
  const read = readConfig(command === undefined ? argv : argv.slice(1), command);
  if ("errors" in read) {
    for (const error of read.errors) process.stderr.write(`altrace enforcer: ${error}\n`);
    return 2;
  }
  if (command === "canary") return canary(read.config);
  return command === "print" ? print(read.config) : serve(read.config);
}

function readConfig(
  argv: readonly string[],
  command: EnforcerCommand | undefined,
): { readonly config: EnforcerConfig } | { readonly errors: readonly string[] } {
  const flags = readFlags(ENFORCER_SETTINGS, argv);
  const given = "errors" in flags ? {} : flags.values;
  // A canary knows nothing of the machine that it is on.
  const needed = { "infra-links": "lo", "pods-file": "/dev/null" };
  const read = readEnforcerConfig(
    process.env,
    command === "canary" ? { ...needed, ...given } : given,
  );
  const errors = [
    ...unknownSettings(process.env, [ENFORCER_SETTINGS]),
    ...("errors" in flags ? flags.errors : []),
    ...("errors" in read ? read.errors : []),
  ];
  if (command === undefined && "config" in read && read.config.netlinkFds === undefined)
    errors.push("ALTRACE_NETLINK_FDS: given by altrace-launcher --netlink, which starts this");
  return "config" in read && errors.length === 0 ? read : { errors };
}

async function print(config: EnforcerConfig): Promise<number> {
  const machine = await readMachine(hostCommand, () => readNotes(config.cniResults));
  const { view, unplaced } = mapPods(
    machine,
    settleAddresses(await podsOf(config)).pods,
    config.infraLinks,
  );
  process.stdout.write(daemonsetRuleset({ ...view, killed: [] }));
  for (const { namespace, name } of unplaced)
    process.stderr.write(`no interface is known for ${namespace}/${name}\n`);
  return 0;
}

async function sidecar(words: readonly string[]): Promise<number> {
  const [link = "", agent = "", addresses = "", file = ""] = words;
  const list = addresses.split(",");
  if (words.length !== 4 || !parseAgentId(agent) || list.some((one) => isIP(one) === 0)) {
    process.stderr.write(
      "altrace enforcer sidecar: expected LINK TEAM/AGENT ADDRESS[,ADDRESS] FILE\n",
    );
    return 2;
  }
  await loadSidecar(hostCommand, link);
  writePods(
    file,
    list.map((address) => ({ address, agent, namespace: "", name: "sidecar" })),
  );
  return 0;
}

async function canary({ canaryPort, canaryPackets }: EnforcerConfig): Promise<number> {
  const door = await serveCanary(canaryPort, async (message) => {
    const question = readCanaryQuestion(message);
    return question && { saw: await attemptWays(question.ways, canaryPackets) };
  });
  await untilSignal("SIGTERM", "SIGINT");
  door.close();
  return 0;
}

async function serve(config: EnforcerConfig): Promise<number> {
  const enforcer = await startEnforcer(config, pino({ level: config.logLevel }));
  await untilSignal("SIGTERM", "SIGINT");
  // The rules stay: an agent must not be able to outlive them.
  await enforcer.stop();
  return 0;
}
