import type { Cancel, Clock } from "../ports/clock.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import { askMesh, type MeshAsker } from "./ask-mesh.ts";
import type { LoopLink } from "./loop-link.ts";

export type InspectionRenewalDeps = MeshAsker & {
  readonly clock: Clock;
  readonly random: Random;
  readonly loops: readonly LoopLink[];
  readonly createKeyPair: () => Promise<{
    readonly publicKey: Uint8Array;
    readonly privateKey: string;
  }>;
  readonly onProblem: (why: string) => void;
};

const ASK_TIMEOUT_MS = 5_000;
const RETRY_MS = 5_000;
/** A policy that names no host to look into may be followed by one that does. */
const NOTHING_TO_SIGN: ReadonlySet<string> = new Set(["no_hosts"]);

/**
 * Keeps this node's certificate for looking into TLS: a key of its own for each, asked for under the
 * policy in force, and again when half of its time is over or the policy changes.
 *
 * A node that gets none goes on without: hosts of model providers are then refused on the doors that
 * would have to look into TLS.
 */
export class InspectionRenewal {
  readonly #deps: InspectionRenewalDeps;
  #cancel: Cancel = () => {};
  #isAsking = false;
  #isAnswered = false;
  #policyVersion = 0;
  #askAgain = false;

  constructor(deps: InspectionRenewalDeps) {
    this.#deps = deps;
  }

  /** Whether it is known, for the first time, if there is a certificate: before that nobody is refused for want of it. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /**
   * This policy comes into force, or has: under another one the hosts may be others. A node's first is told of as soon as it
   * comes, so that nobody waits for one after the other.
   */
  under(policyVersion: number): void {
    if (policyVersion === this.#policyVersion) return;
    this.#policyVersion = policyVersion;
    this.#renew();
  }

  stop(): void {
    this.#cancel();
  }

  #renew(): void {
    this.#askAgain = true;
    if (!this.#isAsking) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isAsking = true;
    while (this.#askAgain) {
      this.#askAgain = false;
      this.#cancel();
      const waitMs = await this.#askOnce().catch((error: unknown) => {
        this.#deps.onProblem(String(error));
        return RETRY_MS;
      });
      this.#isAnswered = true;
      if (waitMs !== undefined) this.#cancel = this.#deps.clock.after(waitMs, () => this.#renew());
    }
    this.#isAsking = false;
  }

  /** How long to wait before asking again; undefined: until the policy changes. */
  async #askOnce(): Promise<number | undefined> {
    const { clock, random, loops, createKeyPair, onProblem } = this.#deps;
    const { publicKey, privateKey } = await createKeyPair();
    const requestId = uuidV7(clock.nowMs(), random);
    const value = { publicKey, policyV: BigInt(this.#policyVersion) };
    const body = { case: "certify" as const, value };
    const reply = await askMesh(this.#deps, { requestId, body, timeoutMs: ASK_TIMEOUT_MS });
    if (reply?.case === "refused") {
      if (NOTHING_TO_SIGN.has(reply.value.reason)) return undefined;
      onProblem(reply.value.reason);
    }
    if (reply?.case !== "certify") return RETRY_MS;
    const { certificate, hosts } = reply.value;
    const notAfterMs = Number(reply.value.notAfterMs);
    for (const loop of loops) {
      loop.post({ t: "inspection", authority: { certificate, privateKey }, hosts, notAfterMs });
    }
    return Math.max(RETRY_MS, Math.floor((notAfterMs - clock.nowMs()) / 2));
  }
}
