import type { Command } from "commander";
import type { CommandContext } from "../command-context.ts";
import { lazily } from "../lazily.ts";
import type { CliProcess } from "../program.ts";

const printKeys = lazily(
  () => import("./keys.ts"),
  (its) => its.printKeys,
);
const listLogs = lazily(
  () => import("./logs.ts"),
  (its) => its.listLogs,
);
const queryLogs = lazily(
  () => import("./query.ts"),
  (its) => its.queryLogs,
);
const checkReceipt = lazily(
  () => import("./receipt.ts"),
  (its) => its.checkReceipt,
);
const writeReceipts = lazily(
  () => import("./receipt.ts"),
  (its) => its.writeReceipts,
);
const redactPerson = lazily(
  () => import("./redact.ts"),
  (its) => its.redactPerson,
);
const reindexLogs = lazily(
  () => import("./reindex.ts"),
  (its) => its.reindexLogs,
);
const tailLog = lazily(
  () => import("./tail.ts"),
  (its) => its.tailLog,
);
const verifyLogs = lazily(
  () => import("./verify.ts"),
  (its) => its.verifyLogs,
);

type Run = (context: CommandContext) => void | Promise<void>;
/** Runs a command in a context made from its words. */
export type Act = (command: Command, host: CliProcess, run: Run) => Promise<void>;

/** `altrace audit ...`: what an auditor asks of the log, from its files. */
export function addAudit(program: Command, host: CliProcess, act: Act): void {
  const audit = program.command("audit").description("the log: verify, ask, prove, follow");
  const offline = "a folder with logs instead of this HOME's";
  const archive = "the coordinator's copies of all nodes' logs";
  const own = "the coordinator's own log: what it was asked to do, and by whom";
  audit
    .command("verify")
    .description("every hash, signature and record, from files and public keys alone")
    .option("--offline <dir>", offline)
    .option("--archive", archive)
    .option("--own", own)
    .option("--keys <file>", "public keys of logs, or a policy with witnesses and quorum")
    .option("--witnessed <dir>", "checkpoints that somebody else kept, as `audit logs --out` does")
    .action((options, command: Command) =>
      act(command, host, (context) => verifyLogs(context, options)),
    );
  audit
    .command("query")
    .description("records that answer a question, oldest first")
    .option("--offline <dir>", offline)
    .option("--archive", archive)
    .option("--own", own)
    .option("--request <id>", "of one request")
    .option("--agent <agent>", "of one agent, team/agent")
    .option("--since <time>", "not before this time")
    .option("--until <time>", "before this time")
    .option("--reason <reason>", "with this reason")
    .option("--stage <no>", "that this stage decided")
    .option("--kind <kind>", "decision, settle, flood, kill, command, call, gap, ...")
    .option("--scope <scope>", "kills, revives and commands of this scope")
    .option("--operator <name>", "commands and calls of this operator")
    .option("--person <person>", "on behalf of this person, where this HOME has the keys")
    .option("--persons", "show persons, not only what stands for them")
    .option("--denied", "refusals alone")
    .option("--limit <count>", "at most so many (1000)")
    .action((options, command: Command) =>
      act(command, host, (context) => queryLogs(context, options)),
    );
  audit
    .command("receipt <request>")
    .description("files that prove the records of a request to anybody, offline")
    .option("--offline <dir>", offline)
    .option("--archive", archive)
    .option("--out <name>", "name of the files, without .tlog-proof")
    .action((request: string, options, command: Command) =>
      act(command, host, (context) => writeReceipts(context, request, options)),
    );
  addRedact(audit, host, act);
  addReaders(audit, host, act);
}

function addRedact(audit: Command, host: CliProcess, act: Act): void {
  audit
    .command("redact <person>")
    .description("has every node erase the keys under which a person stands in its log")
    .option("--reason <word>", "one snake_case word, which stays in the log (person_erased)")
    .option("--timeout <seconds>", "wait so long for every node (60); who is away does it later")
    .action((person: string, options, command: Command) =>
      act(command, host, (context) => redactPerson(context, person, options)),
    );
}

function addReaders(audit: Command, host: CliProcess, act: Act): void {
  const offline = "a folder with logs instead of this HOME's";
  const archive = "the coordinator's copies of all nodes' logs";
  audit
    .command("check <receipt>")
    .description("whether a receipt proves what it says")
    .option("--keys <file>", "public keys of logs, or a policy with witnesses and quorum")
    .action((path: string, options, command: Command) =>
      act(command, host, (context) => checkReceipt(context, path, options)),
    );
  audit
    .command("tail")
    .description("the newest records; with --follow --json a line for each, for log shippers")
    .option("--offline <dir>", offline)
    .option("--lines <count>", "so many of the newest (20)")
    .option("--from <seq>", "from this leaf on instead; <ep>/<seq>: of the log of that epoch")
    .option("--follow", "go on with each new record")
    .option("--persons", "with --ocsf: show persons, not only what stands for them")
    .option("--ocsf", "decisions as events of the Open Cybersecurity Schema Framework")
    .action((options, command: Command) =>
      act(command, host, (context) => tailLog(context, options, host.untilSignal)),
    );
  audit
    .command("logs")
    .description("every log that must exist, and what the coordinator cosigned last of it")
    .option("--out <dir>", "write a policy and the checkpoints there")
    .action((options, command: Command) =>
      act(command, host, (context) => listLogs(context, options)),
    );
  audit
    .command("keys")
    .description("public keys of this node's logs: keep them where the node cannot write")
    .option("--own", "of the coordinator's own log")
    .action((options, command: Command) =>
      act(command, host, (context) => printKeys(context, options)),
    );
  audit
    .command("reindex")
    .description("make the index by request id anew")
    .option("--offline <dir>", offline)
    .option("--archive", archive)
    .action((options, command: Command) =>
      act(command, host, (context) => reindexLogs(context, options)),
    );
}
