import { create, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "../../ports/clock.ts";
import { EnrolRequestSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { SignedRecordSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { Backoff } from "./backoff.ts";
import type { Requests } from "./requests.ts";

export const ENROL_RETRY_MS_MIN = 250;
export const ENROL_RETRY_MS_MAX = 15_000;
const ENROL_TIMEOUT_MS = 5_000;

export type EnrolmentDeps = {
  readonly clock: Clock;
  readonly requests: Requests;
  readonly publicKey: Uint8Array;
  readonly nkey: string;
  /** Undefined: the node cannot ask, and waits for an operator to enter its key. */
  readonly token: string | undefined;
  readonly isEnrolled: () => boolean;
  /** False: no coordinator's key is known yet, so an answer could not be believed. */
  readonly canVerify: () => boolean;
  /** Takes in the node's own record. */
  readonly take: (record: Uint8Array) => void;
};

/** Asks to be let into the mesh until this node's record is in merged state. */
export class Enrolment {
  readonly #deps: EnrolmentDeps;
  readonly #backoff: Backoff;
  #running: Promise<void> | undefined;
  #isClosed = false;
  #refusal: string | undefined;
  #requestId: string | undefined;

  constructor(deps: EnrolmentDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff(deps.clock, {
      minMs: ENROL_RETRY_MS_MIN,
      maxMs: ENROL_RETRY_MS_MAX,
    });
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Why the last attempt did not succeed, for operators. */
  get refusal(): string | undefined {
    return this.#deps.isEnrolled() ? undefined : this.#refusal;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#backoff.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { token, isEnrolled, canVerify } = this.#deps;
    while (!this.#isClosed && !isEnrolled()) {
      if (token === undefined) this.#refusal = "enrol_token_missing";
      else if (!canVerify()) this.#refusal = "trust_unknown";
      else await this.#ask(token);
      if (!isEnrolled()) await this.#backoff.pause();
    }
  }

  async #ask(token: string): Promise<void> {
    const { requests, publicKey, nkey, take } = this.#deps;
    const value = create(EnrolRequestSchema, { publicKey, token, nkey });
    // One id for all attempts: the token is good once, and a lost answer must not use it up.
    this.#requestId ??= requests.newId();
    const options = { timeoutMs: ENROL_TIMEOUT_MS, requestId: this.#requestId };
    const result = await requests.ask({ case: "enrol", value }, options);
    if ("fault" in result) {
      this.#refusal = `enrol_${result.fault}`;
      return;
    }
    const { body } = result.reply;
    if (body.case === "refused") this.#refusal = body.value.reason;
    if (body.case !== "enrol" || !body.value.record) return;
    take(toBinary(SignedRecordSchema, body.value.record));
  }
}
