import type { Command } from "commander";
import type { CommandContext } from "./command-context.ts";
import { lazily } from "./lazily.ts";

const certifyCaller = lazily(
  () => import("./commands/certificate.ts"),
  (its) => its.certifyCaller,
);
const certifyServer = lazily(
  () => import("./commands/certificate.ts"),
  (its) => its.certifyServer,
);

const revokeCertificate = lazily(
  () => import("./commands/revoke-certificate.ts"),
  (its) => its.revokeCertificate,
);

type Act = (
  command: Command,
  deed: (context: CommandContext) => void | Promise<void>,
) => Promise<void>;

/** `altrace certificate ...`. */
export function addCertificates(program: Command, act: Act): void {
  const certificate = program
    .command("certificate")
    .description("who is who in gRPC over TLS, under a root in this coordinator's HOME");
  const issued = (command: Command): Command =>
    command
      .requiredOption("--out <dir>", "folder for ca.pem, cert.pem and key.pem")
      .option("--days <n>", "how long it is good", "30");
  issued(certificate.command("server <hosts...>"))
    .description("of a coordinator or a node, for ALTRACE_GRPC_CERT and ALTRACE_GRPC_KEY")
    .action((hosts: string[], options, command: Command) =>
      act(command, (context) => certifyServer(context, hosts, options)),
    );
  certificate
    .command("revoke <certificate>")
    .description("have every coordinator and node refuse it at once: its file, or its SHA-256")
    .option("--reason <text>", "why, for the log")
    .option("--wait", "until every node has it, or is contained")
    .option("--timeout <seconds>", "how long to wait", "60")
    .action((named: string, options, command: Command) =>
      act(command, (context) => revokeCertificate(context, named, options)),
    );
  issued(certificate.command("issue <name>"))
    .description("of an operator, for --identity")
    .requiredOption("--role <role>", "viewer, auditor, operator or admin")
    .action((name: string, options, command: Command) =>
      act(command, (context) => certifyCaller(context, name, options)),
    );
}
