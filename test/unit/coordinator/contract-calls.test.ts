import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { contractHandlers } from "../../../coordinator/contract-calls.ts";
import type { Contracts } from "../../../coordinator/contracts.ts";
import { CarveRequestSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";

test.each([
  ["", "n1"],
  ["n2", "n2"],
])(
  "K4: a carve counts as asked by the node that signed it, whoever serves it (%j)",
  async (node, served) => {
    const open = vi.fn(async () => ({ refused: "contract_elsewhere", message: "n3" }));
    const { carve } = contractHandlers({ open } as unknown as Contracts);
    const asked = create(CarveRequestSchema, { chain: "a~b", node });
    expect(await carve(asked, { node: "n1", bootId: "b", requestId: "r" })).toMatchObject({
      case: "refused",
      value: { reason: "contract_elsewhere" },
    });
    expect(open).toHaveBeenCalledExactlyOnceWith("a~b", "delegated", { node: served, asker: "n1" });
  },
);
