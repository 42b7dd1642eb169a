import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { LOOKS_PER_QUESTION, LogShipping } from "../../../../node/audit/log-shipping.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { NodeReplySchema, NodeRequestSchema } from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import { Coordinator, logOf, VKEY } from "../../coordinator/archive-world.ts";
import { TwinDisk } from "./twin-disk.ts";

const LOG = logOf(300);

/** A node and three coordinators, of which it hears those that are named. */
function setUp(names: string[]) {
  const coordinators = ["c1", "c2", "c3"].map((name) => new Coordinator(new TwinDisk(), name));
  const clock = twinClock();
  const mesh = { names, trusted: 3, keyOf: (replica: string) => `key of ${replica}` };
  const asked: string[] = [];
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
      asked.push(request.replica);
      return { bytes: toBinary(NodeReplySchema, reply), kid: mesh.keyOf(request.replica) };
    },
  });
  const later = async (): Promise<void> => {
    clock.advance(6_000);
    for (let i = 0; i < 60; i++) await new Promise(setImmediate);
  };
  return { coordinators, asked, clock, shipping, mesh, later };
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

test("a coordinator that speaks under several names counts once, by its key", async () => {
  const { shipping, mesh, later } = setUp(["c1", "c2"]);
  mesh.keyOf = () => "one key";
  shipping.cosigned(0, LOG.note);
  await later();
  expect(shipping.shippedSize(0)).toBe(0);
  mesh.keyOf = (replica) => replica;
  mesh.names = ["c2", "c3"];
  await later();
  mesh.names = ["c1", "c2", "c3"];
  await later();
  expect(shipping.shippedSize(0)).toBe(300);
  shipping.stop();
});

test("of a log that does not grow it is seen, too, that an archive lost its disk", async () => {
  const { coordinators, asked, shipping, later } = setUp(["c1", "c2"]);
  shipping.cosigned(0, LOG.note);
  await later();
  expect(shipping.shippedSize(0)).toBe(300);
  const questions = asked.length;
  await later();
  expect(asked).toHaveLength(questions);

  (coordinators[0] as Coordinator).restart(new TwinDisk());
  for (let look = 0; look < LOOKS_PER_QUESTION; look++) await later();
  expect((coordinators[0] as Coordinator).files().has("checkpoint")).toBe(true);
  expect(shipping.shippedSize(0)).toBe(300);
  shipping.stop();
});
