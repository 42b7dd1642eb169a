import type { Command } from "commander";
import type { InitOptions } from "./commands/init.ts";
import type { Run } from "./contract-program.ts";
import { lazily } from "./lazily.ts";

const init = lazily(
  () => import("./commands/init.ts"),
  (its) => its.init,
);
const natsPermissions = lazily(
  () => import("./commands/nats.ts"),
  (its) => its.natsPermissions,
);
const natsUserOf = lazily(
  () => import("./commands/nats.ts"),
  (its) => its.natsUserOf,
);
const issueToken = lazily(
  () => import("./commands/token.ts"),
  (its) => its.issueToken,
);
const addTrust = lazily(
  () => import("./commands/trust.ts"),
  (its) => its.addTrust,
);
const listTrust = lazily(
  () => import("./commands/trust.ts"),
  (its) => its.listTrust,
);
const removeTrust = lazily(
  () => import("./commands/trust.ts"),
  (its) => its.removeTrust,
);
const showKey = lazily(
  () => import("./commands/member-keys.ts"),
  (its) => its.showKey,
);
const renewTrust = lazily(
  () => import("./commands/renew-records.ts"),
  (its) => its.renewTrust,
);

/** `altrace init`, `nats ...`, `trust ...` and `token`: who is in a mesh. */
export function addMembership(program: Command, run: Run): void {
  program
    .command("init [members...]")
    .description("make a mesh's keys, and the NATS permissions of its node/<id>=U...")
    .option("--mesh <name>", "the mesh's name, instead of one that is drawn")
    .option("--trust <file>", "trust.json of a mesh: be a further coordinator of it")
    .option("--replica-id <name>", "this coordinator's name, as its setting has it", "c1")
    .action((members: string[], options: InitOptions, command: Command) =>
      run(command, (context) => init(context, members, options)),
    );
  addNats(program, run);
  addTrusted(program, run);
  program
    .command("token <node>")
    .description("a one-time token to enrol a node")
    .action((node: string, _, command: Command) =>
      run(command, (context) => issueToken(context, node)),
    );
}

function addNats(program: Command, run: Run): void {
  const nats = program.command("nats").description("who the NATS server lets in, and to what");
  nats
    .command("user <role>")
    .description("public key of this HOME's coordinator or node")
    .action((role: string, _, command: Command) =>
      run(command, (context) => natsUserOf(context, role)),
    );
  nats
    .command("permissions <members...>")
    .description("the server's configuration for coordinator/<name>=U... and node/<id>=U...")
    .action((members: string[], _, command: Command) =>
      run(command, (context) => natsPermissions(context, members)),
    );
}

function addTrusted(program: Command, run: Run): void {
  const trust = program.command("trust").description("whose signatures count");
  trust
    .command("list")
    .description("every key of the bundle")
    .action((_, command: Command) => run(command, (context) => listTrust(context)));
  trust
    .command("add <member>")
    .description("trust a coordinator.json's coordinator, operator=<key>, or node/<id>=<key>")
    .action((member: string, _, command: Command) =>
      run(command, (context) => addTrust(context, member)),
    );
  trust
    .command("key <whose>")
    .description("the public key of this HOME's operator, made where there is none, or node")
    .option("--next", "make the key that the node signs with once `trust add` has named it")
    .action((whose: string, options: { readonly next?: boolean }, command: Command) =>
      run(command, (context) => showKey(context, whose, options)),
    );
  trust
    .command("remove <key>")
    .description("trust a key no more, or node/<id>: a node that is gone or was taken over")
    .action((kid: string, _, command: Command) =>
      run(command, (context) => removeTrust(context, kid)),
    );
  trust
    .command("renew [scopes...]")
    .description("sign again what keys signed that count no more, and these scopes whoever did")
    .action((scopes: string[], _, command: Command) =>
      run(command, (context) => renewTrust(context, scopes)),
    );
}
