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
const delegateOffline = lazily(
  () => import("./commands/contract-own.ts"),
  (its) => its.delegateOffline,
);
const fundContract = lazily(
  () => import("./commands/contract-own.ts"),
  (its) => its.fundContract,
);
const holderOfKey = lazily(
  () => import("./commands/contract-own.ts"),
  (its) => its.holderOfKey,
);
const proveContract = lazily(
  () => import("./commands/contract-own.ts"),
  (its) => its.proveContract,
);

const GATEWAY = "http://127.0.0.1:4000";

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
    .option("--holder <key>", "public key of an agent that holds it by itself; --node serves it")
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
    .option("--holder <key>", "public key of an agent that holds it by itself; no node does")
    .option("--offline", "sign it here: --key is the delegator's key file, --chain its contract")
    .option("--chain <chain>", "with --offline: the delegator's chain, or @file")
    .option("--gateway <url>", "the delegator's node", GATEWAY)
    .action((options, command: Command) =>
      run(command, (context) =>
        options.offline ? delegateOffline(context, options) : delegateContract(context, options),
      ),
    );
  addOwn(contract, run);
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

/** For agents that hold their own key: an Ed25519 key in a file of theirs, as PKCS#8 PEM or JWK. */
function addOwn(contract: Command, run: Run): void {
  contract
    .command("holder")
    .description("the public key of a key file: what an agent of its own key is granted to")
    .option("--key <file>", "PKCS#8 PEM or JWK")
    .action((options, command: Command) =>
      run(command, (context) => holderOfKey(context, options)),
    );
  contract
    .command("fund")
    .description("have money moved into the account of a contract that was delegated offline")
    .option("--key <file>", "the delegator's key file")
    .option("--chain <chain>", "the delegator's chain, or @file")
    .option("--child <chain>", "what was delegated from it, or @file")
    .option("--node <id>", "the node that is to serve it; default: the delegator's")
    .option("--gateway <url>", "the delegator's node", GATEWAY)
    .action((options, command: Command) =>
      run(command, (context) => fundContract(context, options)),
    );
  contract
    .command("prove")
    .description("the headers with which one request proves possession of a contract's key")
    .option("--key <file>", "the holder's key file")
    .option("--chain <chain>", "the contract's chain, or @file")
    .option("--method <method>", "of the request", "POST")
    .option("--url <url>", "of the request")
    .action((options, command: Command) =>
      run(command, (context) => proveContract(context, options)),
    );
}
