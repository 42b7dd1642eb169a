import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  BATCH_QUESTIONS_MAX,
  type LedgerQuestion,
  LedgerQuestions,
  MESSAGES_AT_ONCE_MAX,
  QUESTIONS_BESIDE_MIN,
  QUESTIONS_BESIDE_WAIT_MS,
  QUESTIONS_WAITING_MAX,
} from "../../../node/ledger-questions.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
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
  const clock = twinClock();
  const asker = new LedgerQuestions({
    node: "n1",
    bootId: "b1",
    timeoutMs: 2_000,
    clock,
    ask: (method, bytes) =>
      new Promise((resolve) => {
        const request = fromBinary(NodeRequestSchema, bytes);
        expect(request.body.case).toBe(method);
        sent.push({
          request,
          answer: (body) => {
            if (body === "none") return resolve(undefined);
            const bytes = toBinary(NodeReplySchema, create(NodeReplySchema, { body }));
            resolve({ bytes, kid: "c1" });
          },
        });
      }),
  });
  const ask = (id: string) => asker.ask(id, lease(id));
  const waitOut = () => clock.advance(QUESTIONS_BESIDE_WAIT_MS);
  return { sent, ask, waitOut };
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

/** Until what was asked in one go is on its way. */
const turn = () => Promise.resolve();

/** As many messages as may be under way, none of them answered. */
async function busy() {
  const world = questions();
  const first: Promise<unknown>[] = [];
  for (let no = 0; no < MESSAGES_AT_ONCE_MAX; no += 1) {
    first.push(world.ask(`first-${no}`));
    await turn();
    world.waitOut();
  }
  return { ...world, first };
}

describe("questions to the ledger", () => {
  test("one that comes alone is sent at once, as itself", async () => {
    const { sent, ask } = questions();
    const answer = ask("q1");
    await turn();
    expect(sent[0]?.request).toMatchObject({ node: "n1", bootId: "b1", requestId: "q1" });
    expect(sent[0]?.request.body).toMatchObject({ case: "lease", value: { account: "q1" } });
    sent[0]?.answer(granted("l1"));
    expect(await answer).toMatchObject(granted("l1"));
  });

  test("a few more wait for the answer of the message under way, or for a moment", async () => {
    const { sent, ask, waitOut } = questions();
    void ask("q1");
    await turn();
    for (const id of ["a", "b"]) void ask(id);
    await turn();
    expect(sent).toHaveLength(1);
    waitOut();
    expect(sent.map(idsOf).at(-1)).toEqual(["a", "b"]);
    for (const id of ["c", "d"]) void ask(id);
    sent[0]?.answer(granted("l1"));
    sent[1]?.answer("none");
    await expect.poll(() => sent.length).toBe(3);
    expect(idsOf(sent[2] as Sent)).toEqual(["c", "d"]);
  });

  test("what is asked in one go is one message, also when nothing is under way", async () => {
    const { sent, ask } = questions();
    for (const id of ["a", "b"]) void ask(id);
    await turn();
    expect(sent.map(idsOf)).toEqual([["a", "b"]]);
  });

  test("many more go beside the message under way at once", async () => {
    const { sent, ask } = questions();
    void ask("q1");
    await turn();
    for (let no = 0; no < QUESTIONS_BESIDE_MIN; no += 1) void ask(`more-${no}`);
    await turn();
    expect(sent.map((one) => idsOf(one).length)).toEqual([0, QUESTIONS_BESIDE_MIN]);
  });

  test("those that come while the way is busy share the next message, each with its own answer", async () => {
    const { sent, ask } = await busy();
    const answers = [ask("a"), ask("b"), ask("c"), ask("d")];
    expect(sent).toHaveLength(MESSAGES_AT_ONCE_MAX);
    for (const one of sent.slice()) one.answer(granted("l0"));
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
    const { sent, ask, first } = await busy();
    const answers = [ask("a"), ask("b")];
    for (const one of sent.slice()) one.answer("none");
    expect(await first[1]).toBeUndefined();
    await expect.poll(() => sent.length).toBe(MESSAGES_AT_ONCE_MAX + 1);
    sent.at(-1)?.answer("none");
    expect(await Promise.all(answers)).toEqual([undefined, undefined]);
    void ask("e");
    await turn();
    expect(sent.at(-1)?.request.requestId).toBe("e");
  });

  test("no message carries more than the coordinator takes, and the rest follows", async () => {
    const { sent, ask, waitOut } = await busy();
    const ids = Array.from({ length: BATCH_QUESTIONS_MAX + 2 }, (_, no) => `q${no}`);
    for (const id of ids) void ask(id);
    await turn();
    sent[0]?.answer(granted("l0"));
    sent[1]?.answer(granted("l1"));
    await expect.poll(() => sent.length).toBe(MESSAGES_AT_ONCE_MAX + 1);
    waitOut();
    expect(sent).toHaveLength(MESSAGES_AT_ONCE_MAX + 2);
    expect(sent.slice(-2).flatMap(idsOf)).toEqual(ids);
    expect(idsOf(sent.at(-2) as Sent)).toHaveLength(BATCH_QUESTIONS_MAX);
  });

  test("what comes beyond the limit has no answer, and nothing that waits is lost", async () => {
    const { sent, ask } = await busy();
    const waiting = Array.from({ length: QUESTIONS_WAITING_MAX }, (_, no) => ask(`q${no}`));
    expect(await ask("one too many")).toBeUndefined();
    await turn();
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
