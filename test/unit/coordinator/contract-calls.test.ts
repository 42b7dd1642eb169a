import { create } from "@bufbuild/protobuf";
import { describe, expect, test, vi } from "vitest";
import { contractCalls, contractHandlers } from "../../../coordinator/contract-calls.ts";
import type { Contracts, ContractView } from "../../../coordinator/contracts.ts";
import type { CallResult } from "../../../coordinator/node-calls.ts";
import {
  CarveRequestSchema,
  FundAnswerSchema,
  RefusedSchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";

test.each([
  ["", "n1"],
  ["n2", "n2"],
])(
  "K4: a carve counts as asked by the node that signed it, whoever serves it (%j)",
  async (node, served) => {
    const carved = vi.fn(async () => ({ refused: "contract_elsewhere", message: "n3" }));
    const { carve } = contractHandlers({ carve: carved } as unknown as Contracts);
    const asked = create(CarveRequestSchema, { chain: "a~b", node });
    expect(await carve(asked, { node: "n1", bootId: "b", requestId: "r" })).toMatchObject({
      case: "refused",
      value: { reason: "contract_elsewhere" },
    });
    expect(carved).toHaveBeenCalledExactlyOnceWith("a~b", { node: served, asker: "n1" });
  },
);

describe("K4: an operator's call to delegate", () => {
  const row = { limit: 0, available: 0, spent: 0, children: 0 };
  const view = {
    account: {
      id: "c-1",
      parent: "c-0",
      agent: "pay/bot",
      node: "n2",
      depth: 1,
      keySha256: "",
      chain: "a~b",
      limit: { usd_micros: 1, tokens: 1, calls: 1 },
      expiresMs: 5,
      state: "open",
    },
    rows: { usd_micros: row, tokens: row, calls: row },
  } as unknown as ContractView;
  const funded: CallResult = {
    body: { case: "fund", value: create(FundAnswerSchema, { contract: "c-1" }) },
  };
  const refusedBy = (reason: string): CallResult => ({
    body: { case: "refused", value: create(RefusedSchema, { reason, message: "why" }) },
  });

  /** `opened`: what the ledger has when the node has answered. */
  function calling(answer: CallResult, opened: readonly ContractView[] = [view]) {
    const contracts = {
      delegated: async () => ({ contract: "c-1", servedBy: "n1" }),
      tree: async () => opened,
    } as unknown as Contracts;
    const ask = vi.fn(async () => answer);
    return { ask, calls: contractCalls(contracts, { ask }) };
  }

  test("is carved by the node that serves the delegator", async () => {
    const { ask, calls } = calling(funded);
    const answer = await calls.delegate({ chain: "a~b", node: "n2" });
    expect(answer.contract).toMatchObject({ contract: "c-1", node: "n2" });
    expect(ask).toHaveBeenCalledExactlyOnceWith("n1", {
      case: "fund",
      value: expect.objectContaining({ chain: "a~b", node: "n2" }),
    });
  });

  test.each<[string, CallResult, readonly ContractView[], string, string]>([
    ["refuses", refusedBy("delegation_rate"), [], "FAILED_PRECONDITION", "delegation_rate"],
    ["cannot", refusedBy("contract_unavailable"), [], "UNAVAILABLE", "contract_unavailable"],
    ["is silent", { fault: "timeout" }, [view], "UNAVAILABLE", "contract_unavailable"],
    ["is a liar", { fault: "answer_untrusted" }, [view], "UNAVAILABLE", "contract_unavailable"],
    ["says yes alone", funded, [], "UNAVAILABLE", "contract_unavailable"],
  ])("fails where that node %s", async (_what, answer, opened, code, reason) => {
    const { calls } = calling(answer, opened);
    await expect(calls.delegate({ chain: "a~b", node: "" })).rejects.toMatchObject({
      fields: { code, reason },
    });
  });

  test("asks no node for what is no delegation", async () => {
    const ask = vi.fn();
    const delegated = async () => ({ refused: "contract_order", message: "why" });
    const calls = contractCalls({ delegated } as unknown as Contracts, { ask });
    await expect(calls.delegate({ chain: "a", node: "" })).rejects.toMatchObject({
      fields: { code: "FAILED_PRECONDITION", reason: "contract_order", field: "chain" },
    });
    expect(ask).not.toHaveBeenCalled();
  });
});
