import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  BATCH_QUESTIONS_MAX,
  type LedgerQuestion,
  LedgerQuestions,
  MESSAGES_AT_ONCE_MAX,
  QUESTIONS_WAITING_MAX,
} from "../../../node/ledger-questions.ts";
import {
  type Answer,
  BatchReplySchema,
  LeaseReplySchema,
  LeaseRequestSchema,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
  RefusedSchema,
  SettleReplySchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";

type Sent = { readonly request: NodeRequest; answer(body: NodeReply["body"] | "none"): void };

/** A way to the coordinator on which each message waits until the test answers it. */
function questions() {
  const sent: Sent[] = [];
  const asker = new LedgerQuestions({
    node: "n1",
    bootId: "b1",
    timeoutMs: 2_000,
    ask: (method, bytes) =>
      new Promise((resolve) => {
        const request = fromBinary(NodeRequestSchema, bytes);
        expect(request.body.case).toBe(method);
        sent.push({
          request,
          answer: (body) => {
            if (body === "none") resolve(undefined);
            else resolve(toBinary(NodeReplySchema, create(NodeReplySchema, { body })));
          },
        });
      }),
  });
  const ask = (id: string) => asker.ask(id, lease(id));
  return { sent, ask };
}

const lease = (account: string): LedgerQuestion => ({
  case: "lease",
  value: create(LeaseRequestSchema, { account }),
});
const granted = (leaseId: string) =>
  ({ case: "lease", value: create(LeaseReplySchema, { leaseId }) }) as const;
const settled = { case: "settle", value: create(SettleReplySchema, {}) } as const;
const refused = {
  case: "refused",
  value: create(RefusedSchema, { reason: "budget_exhausted" }),
} as const;

function idsOf({ request: { body } }: Sent): readonly string[] {
  return body.case === "batch" ? body.value.questions.map(({ requestId }) => requestId) : [];
}

function batchReply(answers: readonly (readonly [id: string, body: Answer["body"]])[]) {
  const value = create(BatchReplySchema, {
    answers: answers.map(([requestId, body]) => ({ requestId, body })),
  });
  return { case: "batch", value } as const;
}

/** As many messages as may be under way, none of them answered. */
function busy() {
  const world = questions();
  const first = Array.from({ length: MESSAGES_AT_ONCE_MAX }, (_, no) => world.ask(`first-${no}`));
  return { ...world, first };
}

describe("questions to the ledger", () => {
  test("one that comes alone is sent at once, as itself", async () => {
    const { sent, ask } = questions();
    const answer = ask("q1");
    expect(sent[0]?.request).toMatchObject({ node: "n1", bootId: "b1", requestId: "q1" });
    expect(sent[0]?.request.body).toMatchObject({ case: "lease", value: { account: "q1" } });
    sent[0]?.answer(granted("l1"));
    expect(await answer).toMatchObject(granted("l1"));
  });

  test("those that come while the way is busy share the next message, each with its own answer", async () => {
    const { sent, ask } = busy();
    const answers = [ask("a"), ask("b"), ask("c"), ask("d")];
    expect(sent).toHaveLength(MESSAGES_AT_ONCE_MAX);
    sent[0]?.answer(granted("l0"));
    await expect.poll(() => sent.length).toBe(MESSAGES_AT_ONCE_MAX + 1);
    const batch = sent.at(-1) as Sent;
    expect(idsOf(batch)).toEqual(["a", "b", "c", "d"]);
    // In another order, one of another kind, and one not at all.
    batch.answer(
      batchReply([
        ["c", settled],
        ["b", refused],
        ["a", granted("la")],
      ]),
    );
    expect(await Promise.all(answers)).toMatchObject([
      granted("la"),
      refused,
      undefined,
      undefined,
    ]);
  });

  test("a message without an answer leaves all its questions without one, and the way is free again", async () => {
    const { sent, ask, first } = busy();
    const answers = [ask("a"), ask("b")];
    sent[1]?.answer("none");
    expect(await first[1]).toBeUndefined();
    await expect.poll(() => sent.length).toBe(MESSAGES_AT_ONCE_MAX + 1);
    sent.at(-1)?.answer("none");
    expect(await Promise.all(answers)).toEqual([undefined, undefined]);
    void ask("e");
    expect(sent.at(-1)?.request.requestId).toBe("e");
  });

  test("no message carries more than the coordinator takes, and the rest follows", async () => {
    const { sent, ask } = busy();
    const ids = Array.from({ length: BATCH_QUESTIONS_MAX + 2 }, (_, no) => `q${no}`);
    for (const id of ids) void ask(id);
    sent[0]?.answer(granted("l0"));
    sent[1]?.answer(granted("l1"));
    await expect.poll(() => sent.length).toBe(MESSAGES_AT_ONCE_MAX + 2);
    expect(sent.slice(-2).flatMap(idsOf)).toEqual(ids);
    expect(idsOf(sent.at(-2) as Sent)).toHaveLength(BATCH_QUESTIONS_MAX);
  });

  test("what comes beyond the limit has no answer, and nothing that waits is lost", async () => {
    const { sent, ask } = busy();
    const waiting = Array.from({ length: QUESTIONS_WAITING_MAX }, (_, no) => ask(`q${no}`));
    expect(await ask("one too many")).toBeUndefined();
    for (let at = 0; at < sent.length; at += 1) {
      const one = sent[at] as Sent;
      one.answer(
        one.request.body.case === "batch"
          ? batchReply(idsOf(one).map((id) => [id, granted(id)]))
          : granted("l"),
      );
      await new Promise(setImmediate);
    }
    expect(await waiting[0]).toMatchObject(granted("q0"));
    expect(await waiting.at(-1)).toMatchObject(granted(`q${QUESTIONS_WAITING_MAX - 1}`));
  });
});
