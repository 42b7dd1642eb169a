import type { Cancel, Clock } from "../ports/clock.ts";
import type {
  Answer,
  BatchRequest,
  NodeReply,
  NodeRequest,
  Question,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import type { RequestMethod } from "../proto/subjects.ts";
import { askMesh, type MeshAsker } from "./ask-mesh.ts";

/** What is asked of the ledger. */
export type LedgerQuestion = Exclude<Question["body"], { case: undefined }>;
/** What the ledger says to it. */
export type LedgerAnswer = Exclude<Answer["body"], { case: undefined }>;

export type LedgerQuestionsDeps = MeshAsker & {
  readonly clock: Clock;
  readonly timeoutMs: number;
};

/** Questions under one signature at most; the coordinator refuses more. */
export const BATCH_QUESTIONS_MAX = 256;
/** Questions that wait to be sent; what comes beyond has no answer, and is asked again later. */
export const QUESTIONS_WAITING_MAX = 8_192;
/**
 * Messages under way at once. A question that comes alone never waits; the busier the way to the
 * ledger and back, the longer a message is under way, and the more questions the next one carries.
 * With four, a thousand agents that begin in a second were nearly one to a message.
 */
export const MESSAGES_AT_ONCE_MAX = 2;
/** So many questions go while another message is under way; fewer wait for its answer. */
export const QUESTIONS_BESIDE_MIN = 32;
/** Or for so long, ms, since the answer may be lost. */
export const QUESTIONS_BESIDE_WAIT_MS = 10;

type Waiting = {
  readonly requestId: string;
  readonly body: LedgerQuestion;
  readonly resolve: (answer: LedgerAnswer | undefined) => void;
};

/**
 * Puts questions of many accounts into few messages. Each message costs two signatures and two
 * checks, some 300 us of processors in all, so that a thousand agents that start in one second would
 * keep the coordinator busy with that alone.
 */
export class LedgerQuestions {
  readonly #deps: LedgerQuestionsDeps;
  #waiting: Waiting[] = [];
  #underWay = 0;
  #cancelWait: Cancel | undefined;

  constructor(deps: LedgerQuestionsDeps) {
    this.#deps = deps;
  }

  /**
   * Asks one question; the answer is undefined when none came that counts. A question that was asked
   * before keeps its id, and so its answer.
   */
  ask(requestId: string, body: LedgerQuestion): Promise<LedgerAnswer | undefined> {
    if (this.#waiting.length >= QUESTIONS_WAITING_MAX) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#waiting.push({ requestId, body, resolve });
      // What is asked in one go is one message, the first one too.
      queueMicrotask(() => this.#sendNext());
    });
  }

  #sendNext(isLate = false): void {
    const count = this.#waiting.length;
    if (this.#underWay >= MESSAGES_AT_ONCE_MAX || count === 0) return;
    if (this.#underWay > 0 && count < QUESTIONS_BESIDE_MIN && !isLate) {
      this.#cancelWait ??= this.#deps.clock.after(QUESTIONS_BESIDE_WAIT_MS, () => {
        this.#cancelWait = undefined;
        this.#sendNext(true);
      });
      return;
    }
    this.#cancelWait?.();
    this.#cancelWait = undefined;
    this.#underWay += 1;
    void this.#send(this.#waiting.splice(0, BATCH_QUESTIONS_MAX));
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const [first] = batch;
    const answers =
      batch.length === 1 && first !== undefined
        ? [await this.#sendAlone(first)]
        : await this.#sendTogether(batch);
    // First: whoever asks again because of its answer must find the way free.
    this.#underWay -= 1;
    this.#sendNext();
    for (const [index, { resolve }] of batch.entries()) resolve(answers[index]);
  }

  async #sendAlone({ requestId, body }: Waiting): Promise<LedgerAnswer | undefined> {
    const reply = await this.#message(requestId, body);
    switch (reply?.case) {
      case "lease":
      case "settle":
      case "rate":
      case "refused":
        return reply;
      default:
        return undefined;
    }
  }

  async #sendTogether(batch: readonly Waiting[]): Promise<(LedgerAnswer | undefined)[]> {
    const questions = batch.map(
      ({ requestId, body }): Question => ({ $typeName: "altrace.v1.Question", requestId, body }),
    );
    const value: BatchRequest = { $typeName: "altrace.v1.BatchRequest", questions };
    // The message needs a name too; that of its first question belongs to no other message.
    const requestId = batch[0]?.requestId ?? "";
    const reply = await this.#message(requestId, { case: "batch", value });
    const answers = reply?.case === "batch" ? reply.value.answers : [];
    const byId = new Map(answers.map((answer) => [answer.requestId, answer.body]));
    return batch.map((one) => answerTo(one, byId.get(one.requestId)));
  }

  /** Rejects never: what fails on the way is a question without an answer. */
  async #message(
    requestId: string,
    body: NodeRequest["body"] & { readonly case: RequestMethod },
  ): Promise<NodeReply["body"] | undefined> {
    const { timeoutMs } = this.#deps;
    return askMesh(this.#deps, { requestId, body, timeoutMs }).catch(() => undefined);
  }
}

/** An answer of another kind than the question is none. */
function answerTo({ body }: Waiting, answer: Answer["body"] | undefined): LedgerAnswer | undefined {
  return answer?.case === body.case || answer?.case === "refused" ? answer : undefined;
}
