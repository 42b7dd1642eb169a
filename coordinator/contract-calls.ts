import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Bucket, Rate } from "../authority/rate.ts";
import type {
  ContractStateSchema,
  ListContractsRequest,
} from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import {
  CarveReplySchema,
  type CarveRequest,
  ContractReplySchema,
  type ContractRequest,
  FundCallSchema,
  type RateSchema,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import { parseScope } from "../proto/ids.ts";
import { writeAmounts } from "./amounts.ts";
import { CallRefused } from "./call-refusal.ts";
import type { Contracts, ContractView, NotOpened } from "./contracts.ts";
import { eachUnit } from "./ledger-amounts.ts";
import type { CallResult, NodeCalls } from "./node-calls.ts";
import { type ReplyBody, type RequestFrom, refusedBody } from "./node-requests.ts";

/** What a node asks about contracts. */
export function contractHandlers(contracts: Contracts) {
  const heldContract = async (id: string, node: string): Promise<ReplyBody> => {
    const found = await contracts.ofId(id, node);
    if (found === "elsewhere") return refusedBody("contract_elsewhere", id);
    if (!found) return refusedBody("contract_unknown", "no contract of that id has an account");
    const value = create(ContractReplySchema, { ...found, rate: writeRate(found.rate) });
    return { case: "contract", value };
  };
  return {
    contract: async (asked: ContractRequest, { node }: RequestFrom): Promise<ReplyBody> => {
      const { keySha256, contract } = asked;
      if (contract !== "") return heldContract(contract, node);
      const hex = Buffer.from(keySha256).toString("hex");
      const found = keySha256.length === 32 ? await contracts.ofKey(hex, node) : undefined;
      if (!found) return refusedBody("contract_unknown", "no contract of that key on this node");
      const value = create(ContractReplySchema, { ...found, rate: writeRate(found.rate) });
      return { case: "contract", value };
    },
    carve: async (asked: CarveRequest, { node }: RequestFrom): Promise<ReplyBody> => {
      const named = asked.node === "" ? node : asked.node;
      const opened = await contracts.carve(asked.chain, { node: named, asker: node });
      if ("refused" in opened) return refusedBody(opened.refused, textOf(opened));
      const { id, parent } = opened.account;
      const left = await contracts.ownRate(parent);
      const parentRate = left && writeRate(left);
      const value = create(CarveReplySchema, {
        contract: id,
        ...(parentRate !== undefined && { parentRate }),
      });
      return { case: "carve", value };
    },
  };
}

type Asked = { readonly chain: string; readonly node: string };

/** What an operator asks about contracts. */
export function contractCalls(contracts: Contracts, nodes: Pick<NodeCalls, "ask">) {
  return {
    issueContract: async ({ chain, node }: Asked) => ({
      contract: stateOf(orRefused(await contracts.issue(chain, { node }))),
    }),
    /** Its delegator's node has it carved, as if its delegator had asked there (K4 of ./contracts.ts). */
    delegate: async ({ chain, node }: Asked) => {
      const { contract, servedBy } = orRefused(await contracts.delegated(chain));
      const value = create(FundCallSchema, { chain, node });
      mustBeFunded(servedBy, await nodes.ask(servedBy, { case: "fund", value }));
      // The ledger's word counts, whatever the node said.
      const [opened] = await contracts.tree(contract);
      if (opened === undefined) throw unavailable(`Node ${servedBy} says it is carved; it is not.`);
      return { contract: stateOf(opened) };
    },
    listContracts: async ({ contract }: ListContractsRequest) => {
      if (contract !== "") mustBeContract(contract);
      const views = await contracts.tree(contract === "" ? undefined : contract);
      return { contracts: views.map(stateOf) };
    },
  };
}

/** @throws CallRefused It is no contract's id. */
export function mustBeContract(id: string): void {
  if (parseScope(`contract/${id}`) !== undefined) return;
  throw new CallRefused({
    code: "INVALID_ARGUMENT",
    reason: "malformed_scope",
    message: `${id} is no contract's id.`,
    field: "contract",
  });
}

function orRefused<T extends object>(answer: T | NotOpened): T {
  if (!("refused" in answer)) return answer;
  throw new CallRefused({
    code: "FAILED_PRECONDITION",
    reason: answer.refused,
    message: textOf(answer),
    field: "chain",
  });
}

/** @throws CallRefused The delegator's node did not have it carved, or did not say. */
function mustBeFunded(node: string, result: CallResult): void {
  if ("fault" in result) {
    const said = `Node ${node}, which serves its delegator, gave no answer (${result.fault}).`;
    throw unavailable(`${said} Asked again, it is the same delegation.`);
  }
  const { body } = result;
  if (body.case === "fund") return;
  const { reason, message } = body.value;
  if (reason === "contract_unavailable") throw unavailable(`Node ${node}: ${message}.`);
  throw new CallRefused({ code: "FAILED_PRECONDITION", reason, message, field: "chain" });
}

function unavailable(message: string): CallRefused {
  return new CallRefused({ code: "UNAVAILABLE", reason: "contract_unavailable", message });
}

function textOf(refusal: NotOpened): string {
  return "detail" in refusal ? refusal.detail : refusal.message;
}

function stateOf({ account, rows }: ContractView): MessageInitShape<typeof ContractStateSchema> {
  const { id, parent, agent, node, depth, state, expiresMs, limit, chain } = account;
  return {
    contract: id,
    parent,
    agent,
    node,
    depth,
    state,
    expiresAtMs: BigInt(expiresMs),
    limit: writeAmounts(limit),
    available: writeAmounts(eachUnit((unit) => Math.max(0, rows[unit].available))),
    spent: writeAmounts(eachUnit((unit) => rows[unit].spent)),
    children: writeAmounts(eachUnit((unit) => rows[unit].children)),
    chain,
  };
}

function writeRate(rate: Rate): MessageInitShape<typeof RateSchema> {
  const bucket = ({ burst, amount, seconds }: Bucket) => ({
    burst: BigInt(burst),
    amount: BigInt(amount),
    seconds: BigInt(seconds),
  });
  return { requests: bucket(rate.req), tokens: bucket(rate.tok), usdMicros: bucket(rate.usd_u) };
}
