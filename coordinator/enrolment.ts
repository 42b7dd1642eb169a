// How a node gets into the mesh.
//
// E1. A token is good for one node, for one key, once, and not after its time. It is kept as a hash.
// E2. The node's record and the token's use are one commit: no crash leaves a token that is used up
//     for nothing, nor one that works twice.
// E3. The same node with the same key and token gets the same record, however often it asks.

import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { kidOf } from "../mesh/kid-of.ts";
import { nextRecord, RecordError } from "../mesh/record.ts";
import type { Clock } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { Store, Write } from "../ports/store.ts";
import type { EnrolRequest } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { TrustRole, TrustSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { isName } from "../proto/ids.ts";
import { CommandRefused } from "./command-refused.ts";
import type { Commands } from "./commands.ts";
import type { Tell } from "./events.ts";
import type { Replica } from "./replica.ts";
import { TOKEN_PREFIX, tokenKey } from "./store-keys.ts";

export type EnrolmentOptions = {
  readonly mesh: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly replica: Replica;
  readonly commands: Commands;
  /** The enrolment key, which the trust bundle lists for this alone. */
  readonly signer: Signer;
  readonly tell: Tell;
  /** Tokens that are open at once. */
  readonly tokensMax: number;
  /** How long an answer waits for the commit of the node's record. */
  readonly commitWaitMs: number;
};

export type EnrolmentRefusal =
  /** No such token, or it is another node's, used, or too old. */
  | "token_invalid"
  /** The node has another key; only an operator replaces it. */
  | "already_enrolled"
  | "malformed_request"
  /** The record is on its way; ask again. */
  | "not_committed";

export type Enrolled = { readonly record: Uint8Array } | { readonly refused: EnrolmentRefusal };

/** What is stored of a token. */
type Token = {
  readonly node: string;
  /** Wall clock, ms since the Unix epoch. */
  readonly expiresAtMs: number;
  /** The key that used it. */
  readonly kid: string | undefined;
};

const TOKEN_BYTES = 32;
export const TOKEN_TTL_MS_MAX = 7 * 24 * 3_600_000;

export class Enrolment {
  readonly #options: EnrolmentOptions;

  constructor(options: EnrolmentOptions) {
    this.#options = options;
  }

  /**
   * Makes a token for one node. It is returned once and never stored.
   *
   * @throws StoreFault
   */
  async createToken(node: string, ttlMs: number): Promise<string | "too_many_tokens"> {
    const { random, store, clock, tokensMax } = this.#options;
    const stale = this.#staleTokens();
    const openCount = store.list(TOKEN_PREFIX, { limit: tokensMax + stale.length }).length;
    if (openCount - stale.length >= tokensMax) return "too_many_tokens";
    // Hexadecimal, so that it never begins with a dash and passes for a flag.
    const token = Buffer.from(random.bytes(TOKEN_BYTES)).toString("hex");
    const value: Token = { node, expiresAtMs: clock.nowMs() + ttlMs, kid: undefined };
    await store.commit([...stale, { key: keyOf(token), value: encode(value) }]);
    return token;
  }

  /**
   * Enrols a node that shows a token, or repeats the answer to one that has used it.
   *
   * The caller has checked that the request is signed with the key that it names.
   *
   * @throws StoreFault
   */
  async enrol(node: string, request: EnrolRequest): Promise<Enrolled> {
    const { replica, tell } = this.#options;
    if (!isName(node) || request.publicKey.length !== 32) return { refused: "malformed_request" };
    const kid = kidOf(request.publicKey);
    const token = this.#token(request.token);
    if (token?.node !== node) return this.#refuse(node, "token_invalid");
    const enrolled = replica.trust.nodeKey(node);
    if (enrolled) {
      const record = replica.state.get(`node/${node}`);
      if (enrolled.kid !== kid || !record) return this.#refuse(node, "already_enrolled");
      return { record: record.bytes };
    }
    if (token.kid !== undefined && token.kid !== kid) return this.#refuse(node, "token_invalid");
    if (replica.state.get(`node/${node}`)) return this.#refuse(node, "already_enrolled");
    const bytes = this.#sign(node, request, kid);
    if (!bytes) return this.#refuse(node, "malformed_request");
    const used = { key: keyOf(request.token), value: encode({ ...token, kid }) };
    if (!(await this.#commit(bytes, used))) return this.#refuse(node, "not_committed");
    tell("node_enrolled", { node, kid });
    return { record: bytes };
  }

  async #commit(bytes: Uint8Array, used: Write): Promise<boolean> {
    const { commands, commitWaitMs } = this.#options;
    try {
      const command = await commands.carry(bytes, ["trust"], [used]);
      return (await commands.settled(command, commitWaitMs)).committed;
    } catch (error) {
      // The node asked twice and its record of the first time is still on its way.
      if (error instanceof CommandRefused && error.reason === "conflict") return false;
      throw error;
    }
  }

  #sign(node: string, request: EnrolRequest, kid: string): Uint8Array | undefined {
    const { mesh, clock, random, signer } = this.#options;
    const { publicKey, nkey } = request;
    const keys = [{ kid, publicKey, role: TrustRole.NODE, nkey }];
    const fields = {
      mesh,
      scope: `node/${node}`,
      cmdId: uuidV7(clock.nowMs(), random),
      issuedAtMs: clock.nowMs(),
      operator: `node/${node}`,
      op: { case: "trust" as const, value: create(TrustSchema, { keys }) },
    };
    try {
      return nextRecord(undefined, fields, signer);
    } catch (error) {
      if (error instanceof RecordError) return undefined;
      throw error;
    }
  }

  #token(token: string): Token | undefined {
    const value = this.#options.store.get(keyOf(token));
    if (!value) return undefined;
    const stored = JSON.parse(Buffer.from(value).toString()) as Token;
    return this.#options.clock.nowMs() <= stored.expiresAtMs ? stored : undefined;
  }

  #staleTokens(): readonly Write[] {
    const { store, clock } = this.#options;
    return store.list(TOKEN_PREFIX).flatMap(([key, value]) => {
      const { expiresAtMs } = JSON.parse(Buffer.from(value).toString()) as Token;
      return clock.nowMs() > expiresAtMs ? [{ key, value: undefined }] : [];
    });
  }

  #refuse(node: string, refused: EnrolmentRefusal): Enrolled {
    this.#options.tell("enrolment_refused", { node, reason: refused });
    return { refused };
  }
}

function keyOf(token: string): string {
  return tokenKey(createHash("sha256").update(token).digest("hex"));
}

function encode(token: Token): Uint8Array {
  return Buffer.from(JSON.stringify(token));
}
