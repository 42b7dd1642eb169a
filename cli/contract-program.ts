import type { Command } from "commander";
import type { CommandContext } from "./command-context.ts";
import { lazily } from "./lazily.ts";

const contractTree = lazily(
  () => import("./commands/contract.ts"),
  (its) => its.contractTree,
);
const delegateContract = lazily(
  () => import("./commands/contract.ts"),
  (its) => its.delegateContract,
);
const inspectContract = lazily(
  () => import("./commands/contract.ts"),
  (its) => its.inspectContract,
);
const revokeContract = lazily(
  () => import("./commands/contract.ts"),
  (its) => its.revokeContract,
);
const verifyContract = lazily(
  () => import("./commands/contract.ts"),
  (its) => its.verifyContract,
);
const issueContract = lazily(
  () => import("./commands/contract-issue.ts"),
  (its) => its.issueContract,
);

/** Runs a command's deed with its context, once its words were read. */
export type Run = (
  command: Command,
  deed: (context: CommandContext) => void | Promise<void>,
) => Promise<void>;

/** `altrace contract ...`: authority that is signed, and only ever narrowed. */
export function addContracts(program: Command, run: Run): void {
  const contract = program.command("contract").description("signed authority that only shrinks");
  contract
    .command("issue <agent>")
    .description("sign a root with the operator's key; the agent's key is shown once")
    .option("--grant <file>", "what it grants, in YAML or JSON")
    .option("--node <id>", "the node that is to hold it")
    .option("--hours <hours>", "how long it lives, at most 24", "8")
    .option("--max-depth <links>", "delegations below it, at most 8", "4")
    .option("--sub <subject>", "on whose behalf")
    .option("--source <address>", "the one address that its key counts from")
    .action((agent: string, options, command: Command) =>
      run(command, (context) => issueContract(context, agent, options)),
    );
  contract
    .command("delegate")
    .description("delegate a part of what a key holds, through its node")
    .option("--key <key>", "the delegator's key")
    .option("--grant <file>", "budget, rate, and whatever is to be narrowed")
    .option("--agent <agent>", "the new holder, of the same team; default: the delegator")
    .option("--node <id>", "the node that is to hold it; default: the delegator's")
    .option("--source <address>", "the one address that the new key counts from")
    .option("--minutes <minutes>", "how long it lives; default: 15")
    .option("--gateway <url>", "the delegator's node", "http://127.0.0.1:4000")
    .action((options, command: Command) =>
      run(command, (context) => delegateContract(context, options)),
    );
  contract
    .command("inspect <chain>")
    .description("what a chain, or @file, says; nothing is verified")
    .action((chain: string, _, command: Command) =>
      run(command, (context) => inspectContract(context, chain)),
    );
  contract
    .command("verify <chain>")
    .description("whether a chain, or @file, is genuine; offline, by trust.json")
    .option("--trust <file>", "default: trust.json in HOME")
    .action((chain: string, options, command: Command) =>
      run(command, (context) => verifyContract(context, chain, options)),
    );
  contract
    .command("revoke <id>")
    .description("kill a contract and everything below it; there is no way back")
    .option("--reason <text>", "why, for the audit log")
    .action((id: string, options, command: Command) =>
      run(command, (context) => revokeContract(context, id, options)),
    );
  contract
    .command("tree [id]")
    .description("contracts, who holds them, and where their money is")
    .action((id: string | undefined, _, command: Command) =>
      run(command, (context) => contractTree(context, id ?? "")),
    );
}
