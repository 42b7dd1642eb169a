import { setImmediate as nextTurn } from "node:timers/promises";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { InspectionRenewal } from "../../../node/inspection-renewal.ts";
import type { LoopLink } from "../../../node/loop-link.ts";
import type { ControlToLoop } from "../../../node/thread-messages.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { NodeReplySchema, NodeRequestSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";

type Body = MessageInitShape<typeof NodeReplySchema>["body"];

const HOUR_MS = 3_600_000;

/** A node that asks for its certificate, and a coordinator that says what it is told to; undefined: nothing. */
function world() {
  const clock = twinClock();
  const posted: ControlToLoop[] = [];
  const problems: string[] = [];
  const state = { reply: undefined as Body | undefined, asked: 0, policyV: 0n };
  const held = Promise.withResolvers<void>();
  const renewal = new InspectionRenewal({
    ...{ node: "n1", bootId: "b1", clock, random: twinRandom(1) },
    loops: [{ post: (message: ControlToLoop) => posted.push(message) } as unknown as LoopLink],
    createKeyPair: async () => ({ publicKey: new Uint8Array(32), privateKey: "pem" }),
    ask: async (_method, bytes) => {
      state.asked += 1;
      const { body: asked } = fromBinary(NodeRequestSchema, bytes);
      if (asked.case === "certify") state.policyV = asked.value.policyV;
      await held.promise;
      const { reply: body } = state;
      if (body === undefined) return undefined;
      return { bytes: toBinary(NodeReplySchema, create(NodeReplySchema, { body })), kid: "c1" };
    },
    onProblem: (why) => problems.push(why),
  });
  const answered = async (): Promise<void> => {
    held.resolve();
    await nextTurn();
  };
  return { renewal, clock, posted, problems, state, answered };
}

const refused = (reason: string): Body => ({ case: "refused", value: { reason } });

test("is answered once the loops have a certificate, and not before", async () => {
  const { renewal, clock, posted, state, answered } = world();
  const notAfterMs = BigInt(clock.nowMs() + HOUR_MS);
  state.reply = {
    case: "certify",
    value: { certificate: "pem", hosts: ["a.example"], notAfterMs },
  };
  renewal.under(7);
  await nextTurn();
  expect([state.asked, state.policyV, renewal.isAnswered]).toEqual([1, 7n, false]);
  await answered();
  expect(posted).toMatchObject([{ t: "inspection", hosts: ["a.example"] }]);
  expect(renewal.isAnswered).toBe(true);
  clock.advance(HOUR_MS / 2);
  await nextTurn();
  expect([state.asked, renewal.isAnswered]).toEqual([2, true]);
});

test("a policy that was told of when it came is not asked about again when it is in force", async () => {
  const { renewal, state, answered } = world();
  state.reply = refused("no_hosts");
  renewal.under(7);
  renewal.under(7);
  await answered();
  renewal.under(7);
  await nextTurn();
  expect(state.asked).toBe(1);
  renewal.under(8);
  await nextTurn();
  expect([state.asked, state.policyV]).toEqual([2, 8n]);
});

test("a policy that names no host to look into is an answer, and the last one until another policy", async () => {
  const { renewal, clock, problems, state, answered } = world();
  state.reply = refused("no_hosts");
  renewal.under(7);
  await answered();
  clock.advance(HOUR_MS);
  await nextTurn();
  expect([state.asked, renewal.isAnswered, problems]).toEqual([1, true, []]);
});

test.each<[string, Body | undefined, readonly string[]]>([
  ["a refusal", refused("not_enrolled"), ["not_enrolled"]],
  ["a policy that is not read there yet", refused("policy_unread"), ["policy_unread"]],
  ["silence", undefined, []],
])("%s is an answer, and asked about again: a node goes on without", async (_what, reply, told) => {
  const { renewal, clock, problems, state, answered } = world();
  state.reply = reply;
  renewal.under(7);
  await answered();
  expect([renewal.isAnswered, problems]).toEqual([true, told]);
  clock.advance(5_000);
  await nextTurn();
  expect(state.asked).toBe(2);
});
