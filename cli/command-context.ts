import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileKeys } from "../adapters/file-keys.ts";
import { createGrpcClient, type GrpcClient } from "../adapters/grpc-client.ts";
import type { GrpcTarget } from "../adapters/grpc-connection.ts";
import type { Keys } from "../ports/keys.ts";
import { CoordinatorService } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { NodeService } from "../proto/gen/altrace/v1/node_service_pb.ts";
import type { Output } from "./output.ts";
import { targetOf } from "./tls-target.ts";

/** A command's no, in one sentence for whoever typed it. */
export class CommandError extends Error {
  /** 1: refused or failed. 2: the words were wrong. */
  readonly exitCode: 1 | 2;
  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = "CommandError";
    this.exitCode = exitCode;
  }
}

export type GlobalOptions = {
  readonly home?: string;
  readonly coordinator?: string;
  readonly nodeAddress?: string;
  readonly identity?: string;
  readonly json?: boolean;
};

/** What every command works with. */
export type CommandContext = {
  readonly home: string;
  readonly output: Output;
  readonly operatorName: string;
  /** The NATS server that the environment names. */
  readonly natsUrl: string | undefined;
  /** Path of the node's socket in HOME, whether a node is there or not. */
  readonly nodeSocket: string;
  /** False: nobody named a coordinator, and none has ever run in this HOME. */
  hasCoordinator(): boolean;
  coordinator(): GrpcClient<typeof CoordinatorService>;
  node(): GrpcClient<typeof NodeService>;
  /** Keys that lie in HOME itself: the operator's. */
  operatorKeys(): Keys;
  /** Ends the connections that were opened. */
  close(): void;
};

/** HOME of a mesh when nobody says otherwise. */
export function homeOf(
  options: GlobalOptions,
  env: Readonly<Record<string, string | undefined>>,
): string {
  return resolve(options.home ?? env.ALTRACE_HOME ?? join(homedir(), ".altrace"));
}

export function commandContext(
  options: GlobalOptions,
  env: Readonly<Record<string, string | undefined>>,
  output: Output,
): CommandContext {
  const home = homeOf(options, env);
  const identity = options.identity ?? env.ALTRACE_IDENTITY;
  const spokenTo = (flag: string, address: string): GrpcTarget => {
    const target = targetOf(flag, address, identity);
    if ("objection" in target) throw new CommandError(target.objection, 2);
    return target;
  };
  const open: { close(): void }[] = [];
  const opened = <C extends { close(): void }>(client: C): C => {
    open.push(client);
    return client;
  };
  return {
    home,
    output,
    operatorName: env.USER ?? env.LOGNAME ?? "operator",
    natsUrl: env.ALTRACE_NATS_URL,
    nodeSocket: join(home, "node.sock"),
    hasCoordinator: () =>
      options.coordinator !== undefined || existsSync(join(home, "coordinator.sock")),
    coordinator: () => {
      const address = options.coordinator ?? `unix:${join(home, "coordinator.sock")}`;
      const target = spokenTo("--coordinator", address);
      return opened(createGrpcClient(CoordinatorService, target));
    },
    node: () => {
      const address = options.nodeAddress ?? `unix:${join(home, "node.sock")}`;
      return opened(createGrpcClient(NodeService, spokenTo("--node-address", address)));
    },
    operatorKeys: () => fileKeys(home),
    close: () => {
      for (const client of open) client.close();
    },
  };
}
