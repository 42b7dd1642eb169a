import { create, fromBinary } from "@bufbuild/protobuf";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { createGrpcClient, type GrpcClient } from "../../adapters/grpc-client.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { newKey } from "../../cli/commands/key.ts";
import { packPolicy } from "../../mesh/policy-parts.ts";
import { signRecord } from "../../mesh/record.ts";
import type { RecordOp } from "../../mesh/record-op.ts";
import { contentScanner } from "../../node/content-scanner.ts";
import { readPolicy } from "../../policy/read-policy.ts";
import type { Signer } from "../../ports/keys.ts";
import { uuidV7 } from "../../ports/random.ts";
import {
  type CommandState,
  CoordinatorService,
  type GetScopeResponse,
} from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { NodeService } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import {
  AccountLimitsSchema,
  KeySchema,
  LimitSchema,
  ReviveSchema,
  type SignedRecord,
  SignedRecordSchema,
  Unit,
} from "../../proto/gen/altrace/v1/record_pb.ts";
import type { Ready } from "./start-altrace.ts";

const IN_FORCE_MS = 120_000;
const LOOK_EVERY_MS = 20;
const COMMAND_TIMEOUT_MS = 30_000;
const NAME = "bench";
const KEYS_AT_ONCE = 64;

/** Somebody with the operator's key and the control sockets of one HOME. */
export class Operator implements Disposable {
  readonly coordinator: GrpcClient<typeof CoordinatorService>;
  readonly node: GrpcClient<typeof NodeService>;
  readonly #signer: Signer;

  constructor({ grpc, home }: Pick<Ready, "grpc" | "home">) {
    this.coordinator = createGrpcClient(CoordinatorService, unixTarget(grpc.coordinator));
    this.node = createGrpcClient(NodeService, unixTarget(grpc.node));
    const signer = fileKeys(home).load("operator");
    if (signer === undefined) throw new Error(`${home} has no operator.key`);
    this.#signer = signer;
  }

  /** Puts a policy in force; resolves when the node decides by it. */
  async applyPolicy(text: string): Promise<void> {
    const read = readPolicy(text, { file: "bench policy", scanner: contentScanner });
    if (!read.ok) throw new Error(JSON.stringify(read.findings, undefined, 1));
    const { policy: value, parts } = packPolicy(read.bundle);
    for (const part of parts) await this.coordinator.calls.putPolicyPart({ part });
    await this.#carry("policy", { case: "policy", value }, (record) =>
      this.coordinator.calls.applyPolicy({ record }),
    );
    const wanted = Buffer.from(value.sha256).toString("hex");
    const deadlineMs = Date.now() + IN_FORCE_MS;
    while ((await this.node.calls.getNode({})).policySha256 !== wanted) {
      if (Date.now() > deadlineMs) throw new Error("the node does not take the policy");
      await pause(LOOK_EVERY_MS);
    }
  }

  /** A new virtual key of an agent, in force when this resolves. */
  async issueKey(agent: string): Promise<string> {
    const [key = ""] = await this.issueKeys([agent]);
    return key;
  }

  /** The same for many agents, in their order. */
  async issueKeys(agents: readonly string[]): Promise<readonly string[]> {
    const { mesh } = await this.coordinator.calls.getScope({ scope: "global" });
    const issued: { readonly key: string; readonly command: CommandState | undefined }[] = [];
    let next = 0;
    const issueInTurn = async () => {
      for (let no = next++; no < agents.length; no = next++) {
        issued[no] = await this.#putKey(agents[no] as string, mesh);
      }
    };
    await Promise.all(Array.from({ length: KEYS_AT_ONCE }, issueInTurn));
    // Keys are committed in the order in which they were taken: whoever has the last has all.
    await Promise.all(issued.slice(-2 * KEYS_AT_ONCE).map(({ command }) => this.followed(command)));
    return issued.map(({ key }) => key);
  }

  /** Nothing was said of a new key before, so nobody has to be asked what. */
  async #putKey(agent: string, mesh: string) {
    const { id, key, sha256 } = newKey(cryptoRandom);
    const op: RecordOp = { case: "key", value: create(KeySchema, { sha256, agent }) };
    const record = this.#signed({ scope: `key/${id}`, mesh, v: 0n, hash: new Uint8Array(0) }, op);
    const { command } = await this.coordinator.calls.putKey({ record });
    return { key, command };
  }

  /** Kills a scope; resolves when every node is durable and closed. */
  async kill(scope: string): Promise<CommandState> {
    const { command } = await this.coordinator.calls.kill({ scope, operator: NAME });
    return this.followed(command);
  }

  async revive(scope: string): Promise<CommandState> {
    const value = create(ReviveSchema, { reason: "" });
    const { command } = await this.#carry(scope, { case: "revive", value }, (record) =>
      this.coordinator.calls.revive({ record }),
    );
    return this.followed(command);
  }

  /** Sets what an account may spend in all, micro-dollars; resolves when every node has heard so. */
  async setTotal(account: string, usdMicros: number): Promise<void> {
    const limit = { unit: Unit.USD_MICROS, window: "total", limit: BigInt(usdMicros) };
    const value = create(LimitSchema, {
      of: { case: "accounts", value: create(AccountLimitsSchema, { limits: [limit] }) },
    });
    const { command } = await this.#carry(`budget/${account}`, { case: "limit", value }, (record) =>
      this.coordinator.calls.setLimit({ record }),
    );
    await this.followed(command);
  }

  /** Waits until a command is done everywhere. */
  async followed(command: CommandState | undefined): Promise<CommandState> {
    if (command === undefined) throw new Error("the coordinator answered without a command");
    if (command.done) return command;
    const { cmdId, scope } = command;
    const options = { timeoutMs: COMMAND_TIMEOUT_MS };
    let done: CommandState | undefined;
    // To the end of the stream: one that is left early is reset, and HTTP/2 servers cut a client that
    // resets more than some 30 streams a second.
    for await (const said of this.coordinator.calls.watchCommand({ cmdId }, options)) {
      if (said.command?.done) done = said.command;
    }
    if (done !== undefined) return done;
    throw new Error(`the command on ${scope} was not finished in ${COMMAND_TIMEOUT_MS} ms`);
  }

  [Symbol.dispose](): void {
    this.coordinator.close();
    this.node.close();
  }

  async #carry<Answer>(
    scope: string,
    op: RecordOp,
    carry: (record: SignedRecord) => Promise<Answer>,
  ): Promise<Answer> {
    const current = await this.coordinator.calls.getScope({ scope });
    return carry(this.#signed({ ...current, scope }, op));
  }

  /** @param current What the scope says now; version 0 and no hash: nothing. */
  #signed(
    current: Pick<GetScopeResponse, "mesh" | "v" | "hash"> & { readonly scope: string },
    op: RecordOp,
  ): SignedRecord {
    const bytes = signRecord(
      {
        mesh: current.mesh,
        scope: current.scope,
        v: Number(current.v) + 1,
        prev: current.hash,
        cmdId: uuidV7(systemClock.nowMs(), cryptoRandom),
        issuedAtMs: systemClock.nowMs(),
        operator: NAME,
        op,
      },
      this.#signer,
    );
    return fromBinary(SignedRecordSchema, bytes);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function unixTarget(address: string): { readonly kind: "unix"; readonly path: string } {
  return { kind: "unix", path: address.slice("unix:".length) };
}
