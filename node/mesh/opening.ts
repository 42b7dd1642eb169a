import { create, fromBinary } from "@bufbuild/protobuf";
import { DeadMan, type Judgement, type NotEntitled } from "../../mesh/entitlement.ts";
import { openSealed } from "../../mesh/sealed.ts";
import { coordinatorKey, type TrustView } from "../../mesh/trust.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Keys } from "../../ports/keys.ts";
import type { Random } from "../../ports/random.ts";
import { type Beat, BeatSchema, NonceRequestSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { openUntilNs, setOpenUntilNs, type Table } from "../table/table.ts";
import type { Membership } from "./membership.ts";
import type { Requests } from "./requests.ts";

/** Why a node is closed: what keeps the next digest from opening it. */
export const CLOSED_BECAUSE = [
  "loading",
  "bus_down",
  "not_enrolled",
  "node_removed",
  "no_digest",
  "digest_malformed",
  "digest_replayed",
  "clock_unknown",
  "clock_inconsistent",
  "digest_old",
  "quorum_lost",
  "state_differs",
] as const satisfies readonly (NotEntitled | string)[];
export type ClosedBecause = (typeof CLOSED_BECAUSE)[number];

export type OpeningDeps = {
  readonly table: Table;
  readonly deadManMs: number;
  /** Least time between two questions for a replica's clock. */
  readonly exchangeEveryMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly verify: Keys["verify"];
  readonly trust: TrustView;
  readonly requests: Requests;
  readonly stateHash: () => Uint8Array;
  readonly membership: () => Membership;
  /** A digest had our hash, and whether it entitles; or it had another one. */
  readonly onEqual: (lastSeq: number, entitles: boolean) => void;
  readonly onDiffering: () => void;
  /** The node has just opened. */
  readonly onOpen: () => void;
};

const NONCE_BYTES = 16;
const NONCE_TIMEOUT_MS = 1_000;

/**
 * Decides how long this node may believe its kill state. The only one who raises `open_until`.
 *
 * Starts closed, and opens by a digest alone; nothing that happens here closes a node earlier than the
 * table's own clock would, except removal and sleep.
 */
export class Opening {
  readonly #deps: OpeningDeps;
  #deadMan: DeadMan;
  #last: Judgement | undefined;
  readonly #askedNs = new Map<string, bigint>();

  constructor(deps: OpeningDeps) {
    this.#deps = deps;
    this.#deadMan = new DeadMan({ deadManMs: deps.deadManMs });
  }

  /** Takes in what came on the digests' subject. */
  digest(bytes: Uint8Array): void {
    const receivedNs = this.#deps.clock.monoNs();
    const beat = this.#open(bytes);
    if (!beat) return;
    const ownStateHash = this.#deps.stateHash();
    const judgement = this.#deadMan.judge(beat, { receivedNs, ownStateHash });
    // A replayed digest says nothing about now, not even that states differ.
    if (!judgement.entitles && judgement.because.startsWith("digest_")) {
      this.#last = judgement;
      return;
    }
    if (Buffer.compare(beat.stateHash, ownStateHash) === 0) {
      this.#deps.onEqual(Number(beat.lastSeq), judgement.entitles);
    } else this.#deps.onDiffering();
    this.#act(judgement);
    this.#compareClocks(beat);
  }

  /**
   * There is a connection. Whoever answers has its clock compared by the time its first digest comes, which then opens
   * this node at once. Later digests say themselves whose clock is to be compared.
   */
  connected(): void {
    if (this.#deadMan.replicas().length === 0) this.joined();
  }

  /** This node may open from now on. No coordinator has told its clock to one that was no member. */
  joined(): void {
    if (this.#deps.membership() === "member") void this.#askClock("");
  }

  /** Our state changed: the newest digests may entitle now. */
  stateChanged(): void {
    if (this.#last === undefined || this.#last.entitles) return;
    const { clock, stateHash } = this.#deps;
    const judgement = this.#deadMan.judgeAgain({
      nowNs: clock.monoNs(),
      ownStateHash: stateHash(),
    });
    if (judgement) this.#act(judgement);
  }

  /** What was known of the replicas is void: their keys changed, or this machine slept. */
  forget(): void {
    this.#deadMan = new DeadMan({ deadManMs: this.#deps.deadManMs });
    this.#last = undefined;
    this.#askedNs.clear();
  }

  /** Closes the node, and lets no digest that came before open it once more: it slept, or it stops. */
  reset(): void {
    this.close();
    this.forget();
  }

  /** Closes the node now. The next digest that entitles opens it again. */
  close(): void {
    setOpenUntilNs(this.#deps.table, 0n);
  }

  get isOpen(): boolean {
    return this.#deps.clock.monoNs() < openUntilNs(this.#deps.table);
  }

  /** Names of those that were heard, and how many the mesh trusts. */
  coordinators(): { readonly names: readonly string[]; readonly trusted: number } {
    const trusted = this.#deps.trust.keysOf("coordinator").length;
    return { names: this.#deadMan.replicas(), trusted };
  }

  digestAgeMs(): number | undefined {
    const ageMs = this.#deadMan.digestAgeMs(this.#deps.clock.monoNs());
    return ageMs === undefined ? undefined : Math.round(ageMs);
  }

  /** Empty while open. */
  closedBecause(): readonly ClosedBecause[] {
    if (this.isOpen) return [];
    const membership = this.#deps.membership();
    const reasons: ClosedBecause[] = membership === "member" ? [] : [membership];
    if (this.#last === undefined) reasons.push("no_digest");
    else if (this.#last.entitles) reasons.push("digest_old");
    else reasons.push(this.#last.because);
    return reasons;
  }

  #act(judgement: Judgement): void {
    this.#last = judgement;
    if (!judgement.entitles || this.#deps.membership() !== "member") return;
    const { table, clock, onOpen } = this.#deps;
    const before = openUntilNs(table);
    if (judgement.openUntilNs <= before) return;
    setOpenUntilNs(table, judgement.openUntilNs);
    if (clock.monoNs() >= before) onOpen();
  }

  #open(bytes: Uint8Array): Beat | undefined {
    const { trust, clock, verify } = this.#deps;
    const opened = openSealed("beat", bytes, coordinatorKey(trust, clock.nowMs()), verify);
    if (!opened) return undefined;
    try {
      return fromBinary(BeatSchema, opened.payload);
    } catch {
      return undefined;
    }
  }

  #compareClocks({ from, bootId }: Beat): void {
    const { clock, exchangeEveryMs, membership } = this.#deps;
    // Nobody would answer, and the question after that one would come too late.
    if (membership() === "not_enrolled") return;
    const nowNs = clock.monoNs();
    if (!this.#deadMan.exchangeDue(from, bootId, nowNs)) return;
    const askedNs = this.#askedNs.get(from);
    if (askedNs !== undefined && nowNs - askedNs < BigInt(exchangeEveryMs) * 1_000_000n) return;
    this.#askedNs.set(from, nowNs);
    void this.#askClock(from);
  }

  /** The answer says whose clock it was: on the way to one replica, or to whichever comes first (""), others hear it. */
  async #askClock(of: string): Promise<void> {
    const { clock, random, requests } = this.#deps;
    const sentNs = clock.monoNs();
    const nonce = random.bytes(NONCE_BYTES);
    const deadMan = this.#deadMan;
    const value = create(NonceRequestSchema, { nonce, replica: of });
    const asked = { timeoutMs: NONCE_TIMEOUT_MS };
    const result = await requests.ask({ case: "nonce", value }, asked);
    if ("fault" in result || result.reply.body.case !== "nonce") return;
    const answer = result.reply.body.value;
    if (Buffer.compare(answer.nonce, nonce) !== 0 || deadMan !== this.#deadMan) return;
    const { replica, bootId: answeredBoot, monoMs } = answer;
    deadMan.noteExchange({ replica, bootId: answeredBoot, sentNs, monoMs });
    this.stateChanged();
  }
}
