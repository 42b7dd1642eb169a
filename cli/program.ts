import { Command, CommanderError } from "commander";
import { addAudit } from "./audit/audit-program.ts";
import { addCertificates } from "./certificate-program.ts";
import type { CommandContext, GlobalOptions } from "./command-context.ts";
import type { EnvOptions } from "./commands/env.ts";
import { completionScript, SHELLS } from "./completion.ts";
import { addContracts } from "./contract-program.ts";
import { idsAsOperands } from "./ids-as-operands.ts";
import { lazily } from "./lazily.ts";
import { addMembership } from "./membership-program.ts";
import { addMoney } from "./money-program.ts";
import type { Streams } from "./output.ts";
import { SERVER_WORDS } from "./server-words.ts";

// A command loads what it needs when it runs: nobody waits for the parts of the others.
const agent = lazily(
  () => import("./commands/agents.ts"),
  (its) => its.agent,
);
const agents = lazily(
  () => import("./commands/agents.ts"),
  (its) => its.agents,
);
const nodes = lazily(
  () => import("./commands/agents.ts"),
  (its) => its.nodes,
);
const discover = lazily(
  () => import("./commands/discover.ts"),
  (its) => its.discover,
);
const doctor = lazily(
  () => import("./commands/doctor.ts"),
  (its) => its.doctor,
);
const env = lazily(
  () => import("./commands/env.ts"),
  (its) => its.env,
);
const explain = lazily(
  () => import("./commands/explain.ts"),
  (its) => its.explain,
);
const holds = lazily(
  () => import("./commands/holds.ts"),
  (its) => its.holds,
);
const issueKey = lazily(
  () => import("./commands/key.ts"),
  (its) => its.issueKey,
);
const revokeKey = lazily(
  () => import("./commands/key.ts"),
  (its) => its.revokeKey,
);
const kill = lazily(
  () => import("./commands/kill.ts"),
  (its) => its.kill,
);
const kills = lazily(
  () => import("./commands/kill.ts"),
  (its) => its.kills,
);
const revive = lazily(
  () => import("./commands/kill.ts"),
  (its) => its.revive,
);
const applyPolicy = lazily(
  () => import("./commands/policy.ts"),
  (its) => its.applyPolicy,
);
const checkPolicy = lazily(
  () => import("./commands/policy.ts"),
  (its) => its.checkPolicy,
);
const standing = lazily(
  () => import("./commands/standing.ts"),
  (its) => its.standing,
);
const top = lazily(
  () => import("./commands/top.ts"),
  (its) => its.top,
);
const violations = lazily(
  () => import("./commands/violations.ts"),
  (its) => its.violations,
);

/** What a command line needs of its process. */
export type CliProcess = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly streams: Streams;
  readonly version: string;
  /** Resolves when the process is told to end. */
  readonly untilSignal: Promise<string>;
  /** Resolves when another process waits to take its place, or its terminal is gone. */
  readonly untilHangUp?: Promise<string>;
  /** Called before stores are opened: from then on the process may be in the middle of a write whenever it ends. */
  readonly onStores?: () => void;
  /** Ends the process at once, because a thread of it was lost. */
  readonly abort: (why: string) => void;
};

type Act = (context: CommandContext, ...words: string[]) => void | Promise<void>;

/** Runs one command line. @returns The exit code: 0, 1 (refused or failed), 2 (usage). */
export async function runProgram(args: readonly string[], host: CliProcess): Promise<number> {
  const program = buildProgram(host);
  try {
    await program.parseAsync(idsAsOperands(args, program), { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const { exitCodeOf } = await import("./exit-code.ts");
    return exitCodeOf(error, host.streams);
  }
}

function buildProgram(host: CliProcess): Command {
  const program = new Command("altrace")
    .description("governs what AI agents are authorised to do")
    .version(host.version)
    .option("--home <dir>", "folder of the mesh's state (ALTRACE_HOME, default ~/.altrace)")
    .option("--coordinator <address>", "unix:<path> of its socket, or tls://<host>:<port>")
    .option("--node-address <address>", "the same of the node that is asked")
    .option("--identity <dir>", "certificate and key for tls:// (ALTRACE_IDENTITY)")
    .option("--json", "print JSON")
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => void host.streams.out.write(text),
      writeErr: (text) => void host.streams.err.write(text),
    });
  addServers(program, host);
  addOperations(program, host);
  addViews(program, host);
  addEnvironment(program, host);
  addConfiguration(program, host);
  addMembership(program, (command, deed) => act(command, host, deed));
  addCertificates(program, (command, deed) => act(command, host, deed));
  addContracts(program, (command, deed) => act(command, host, deed));
  addMoney(program, (command, deed) => act(command, host, deed));
  addAudit(program, host, act);
  addCompletion(program, host);
  return program;
}

function addCompletion(program: Command, host: CliProcess): void {
  program
    .command("completion <shell>")
    .description(`a script that completes these words: ${SHELLS.join(", ")}`)
    .action((word: string) => {
      const shell = SHELLS.find((one) => one === word);
      if (shell !== undefined) host.streams.out.write(completionScript(shell, program));
      else program.error(`error: no completion for ${word}; there is ${SHELLS.join(", ")}`);
    });
}

function addServers(program: Command, host: CliProcess): void {
  program
    .command("up")
    .description("coordinator and one node in one host, with a demo policy and demo provider")
    .option("--port-base <port>", "gateway port; the others are counted from it", "4000")
    .option("--policy <file>", "policy file instead of the demo policy")
    .action(async (_, command: Command) => {
      // The whole product hangs on this one; no other command should wait for it to load.
      const { up } = await import("./commands/up.ts");
      await up(optionsOf(command), host);
    });
  // These are dispatched before this program is asked; they stand here for `--help`.
  for (const [word, { about }] of Object.entries(SERVER_WORDS)) {
    program.command(word).description(about);
  }
}

function addOperations(program: Command, host: CliProcess): void {
  const wait = (command: Command): Command =>
    command
      .option("--reason <text>", "why, for the audit log")
      .option("--wait", "until every node has it on disk, or is contained")
      .option("--timeout <seconds>", "with --wait: give up after this long", "60")
      .option("--dry-run", "say what would happen");
  wait(program.command("kill <scope>"))
    .description("stop global, team/<team> or agent/<team>/<agent> everywhere")
    .action((scope: string, options, command: Command) =>
      act(command, host, (context) => kill(context, scope, options)),
    );
  wait(program.command("revive <scope>"))
    .description("undo a kill; needs the operator's key")
    .action((scope: string, options, command: Command) =>
      act(command, host, (context) => revive(context, scope, options)),
    );
  simple(program, host, "kills", "what is killed now", (context) => kills(context));
  simple(program, host, "nodes", "the nodes of the mesh", (context) => nodes(context));
  wait(program.command("standing <agent>"))
    .description("why an agent stands where it does, and what would lift it")
    .option("--lift", "take its score and its level away; needs the operator's key")
    .action((id: string, options, command: Command) =>
      act(command, host, (context) => standing(context, id, options)),
    );
}

/** What an operator looks at; none of these changes anything. */
function addViews(program: Command, host: CliProcess): void {
  simple(program, host, "agents [filter]", "agents of this node", (context, filter = "") =>
    agents(context, filter),
  );
  program
    .command("top [filter]")
    .description("who does what on this node now, drawn anew until it is interrupted")
    .option("--interval <seconds>", "between two pictures", "1")
    .option("--count <pictures>", "end after so many")
    .action((filter: string | undefined, options, command: Command) =>
      act(command, host, (context) =>
        top(context, filter ?? "", { ...options, untilSignal: host.untilSignal }),
      ),
    );
  const held = "money held for requests under way on this node";
  simple(program, host, "holds [filter]", held, (context, filter = "") => holds(context, filter));
  program
    .command("doctor")
    .description("what is not as it should be here, and what to do about it")
    .option("--port-base <port>", "gateway port; the others are counted from it", "4000")
    .option("--nats-url <url>", "the NATS server of the mesh (ALTRACE_NATS_URL)")
    .action((options, command: Command) =>
      act(command, host, (context) => doctor(context, options)),
    );
  simple(program, host, "agent <id>", "one agent of this node in full", (context, id = "") =>
    agent(context, id),
  );
  program
    .command("violations")
    .description("what this node refused of its agents; with --follow each as it is made")
    .option("--follow", "go on; of one agent and reason at most one a minute, with a count")
    .option("--every", "with --follow: each one")
    .option("--agent <filter>", "a team, or team/agent")
    .option("--reason <reason>", "with this reason")
    .option("--recent <count>", "so many of before (20)")
    .action((options, command: Command) =>
      act(command, host, (context) => violations(context, options, host.untilSignal)),
    );
  const strangers = "who tried to get out of this machine and is no agent, since when and whereto";
  simple(program, host, "discover", strangers, (context) => discover(context));
  simple(program, host, "explain <request>", "what decided one request", (context, id = "") =>
    explain(context, id),
  );
}

function addEnvironment(program: Command, host: CliProcess): void {
  program
    .command("env <agent>")
    .description("shell lines for an agent's SDKs")
    .option("--proxy", "through the forward proxy, with what has to be trusted there")
    .action((id: string, options: EnvOptions, command: Command) =>
      act(command, host, (context) => env(context, id, options)),
    );
}

function addConfiguration(program: Command, host: CliProcess): void {
  const policy = program.command("policy").description("check and apply policies");
  simple(policy, host, "check <file>", "everything that is wrong with it", (context, file = "") =>
    checkPolicy(context, file),
  );
  policy
    .command("apply <file>")
    .description("sign it and send it to every node")
    .option("--wait", "until every node has it")
    .action((file: string, options, command: Command) =>
      act(command, host, (context) => applyPolicy(context, file, options)),
    );
  const key = program.command("key").description("virtual keys of agents");
  key
    .command("issue <agent>")
    .description("make a key; it is shown once")
    .option("--days <days>", "how long it is valid")
    .action((id: string, options, command: Command) =>
      act(command, host, (context) => issueKey(context, id, options)),
    );
  key
    .command("revoke <id>")
    .description("have every node take it no more; its id stands behind altk_")
    .option("--reason <text>", "why, for the audit log")
    .action((id: string, options, command: Command) =>
      act(command, host, (context) => revokeKey(context, id, options)),
    );
}

function simple(
  parent: Command,
  host: CliProcess,
  words: string,
  description: string,
  run: Act,
): void {
  parent
    .command(words)
    .description(description)
    .action((...given: unknown[]) => {
      const command = given.at(-1) as Command;
      const args = command.processedArgs.filter((arg) => typeof arg === "string");
      return act(command, host, (context) => run(context, ...args));
    });
}

async function act(
  command: Command,
  host: CliProcess,
  run: (context: CommandContext) => void | Promise<void>,
): Promise<void> {
  const [{ commandContext }, { createOutput }] = await Promise.all([
    import("./command-context.ts"),
    import("./output.ts"),
  ]);
  const options = optionsOf(command);
  const output = createOutput(host.streams, options.json === true, host.env);
  const context = commandContext(options, host.env, output);
  try {
    await run(context);
  } finally {
    context.close();
  }
}

function optionsOf(command: Command): GlobalOptions & Record<string, string | boolean | undefined> {
  return command.optsWithGlobals();
}
