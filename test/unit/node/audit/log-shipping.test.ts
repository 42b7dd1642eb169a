import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { LogShipping } from "../../../../node/audit/log-shipping.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { NodeReplySchema, NodeRequestSchema } from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import { Coordinator, logOf, VKEY } from "../../coordinator/archive-world.ts";
import { TwinDisk } from "./twin-disk.ts";

const LOG = logOf(300);

/** A node and three coordinators, of which it hears those that are named. */
function setUp(names: string[]) {
  const coordinators = ["c1", "c2", "c3"].map((name) => new Coordinator(new TwinDisk(), name));
  const clock = twinClock();
  const mesh = { names, trusted: 3 };
  const shipping = new LogShipping({
    node: "node-7",
    bootId: "b",
    newId: () => "r",
    clock,
    everyMs: 1_000,
    archives: async () => mesh,
    logs: [{ vkey: VKEY, read: (path) => LOG.files.get(path) }],
    onRefused: (why) => {
      throw new Error(why);
    },
    ask: async (_method, bytes) => {
      const { body } = fromBinary(NodeRequestSchema, bytes);
      if (body.case !== "ship") throw new Error("asked something else");
      const { value: request } = body;
      const to = coordinators.find(({ replicaId }) => replicaId === request.replica);
      const value = await (to as Coordinator).ship(request);
      const reply = create(NodeReplySchema, { requestId: "r", body: { case: "ship", value } });
      return toBinary(NodeReplySchema, reply);
    },
  });
  const later = async (): Promise<void> => {
    clock.advance(6_000);
    for (let i = 0; i < 60; i++) await new Promise(setImmediate);
  };
  return { shipping, mesh, later };
}

test("a log counts as shipped when most of the coordinators that there are have it", async () => {
  const { shipping, mesh, later } = setUp(["c1"]);
  shipping.cosigned(0, LOG.note);
  await later();
  expect(shipping.shippedSize(0)).toBe(0);
  mesh.names = ["c1", "c2"];
  await later();
  expect(shipping.shippedSize(0)).toBe(300);
  shipping.stop();
});

test("one that was removed from the mesh does not count any more", async () => {
  const { shipping, mesh, later } = setUp(["c1", "c2"]);
  shipping.cosigned(0, LOG.note);
  await later();
  expect(shipping.shippedSize(0)).toBe(300);
  mesh.names = ["c1"];
  mesh.trusted = 2;
  await later();
  expect(shipping.shippedSize(0)).toBe(0);
  shipping.stop();
});
