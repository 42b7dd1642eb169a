import { join } from "node:path";
import { decodeRecord } from "../../audit/leaf.ts";
import { EntryFiles } from "../../node/audit/entry-files.ts";
import { logFolder } from "../../node/audit/log-origin.ts";
import { crowdAgent } from "../fixtures/policy.ts";
import { wishBody } from "../fixtures/upstream.ts";
import type { MeshUnderTest } from "./mesh-under-test.ts";
import { pause } from "./operator.ts";
import { RawPool } from "./raw-pool.ts";

const CONNECTIONS = 64;
/** Agents that are refused in turn, before the next ones are. */
const GROUP = 20;
/** Of so many agents one is killed before anything is asked. */
const KILLED_EACH = 5;
const LOGGED_WITHIN_MS = 20_000;
const LOOK_EVERY_MS = 500;
const REFUSED = '"dec":"deny"';

const MODEL = "gpt-5-mini";
const plain = wishBody("answer", "refused");
const NOT_GRANTED = { body: plain.replace(MODEL, "gpt-realtime") };
const UNKNOWN = { body: plain.replace(MODEL, "no-such-model") };
const NO_ROUTE = { body: plain, path: "/v1/nowhere" };
const NO_JSON = { body: plain.slice(1) };
/** A card number: whoever sends one is blocked from then on, so what follows has yet another reason. */
const CARD = { body: plain.replace("refused", "4111111111111111") };
/** What each agent asks, one after another. */
const ASKED: readonly { readonly body: string; readonly path?: string }[] = [
  ...[NOT_GRANTED, UNKNOWN, NO_ROUTE, NO_JSON],
  ...[NOT_GRANTED, UNKNOWN, NO_ROUTE, NO_JSON],
  ...[CARD, NOT_GRANTED, UNKNOWN, NO_JSON],
];

/** A refusal as the log has it. */
export type RecordedRefusal = {
  readonly requestId: string;
  /** `team/agent`. */
  readonly agent: string;
  readonly reason: string;
  /** The record's own time, ms since the Unix epoch. */
  readonly recordedMs: number;
};

/** Agents of a crowd that ask for nothing but what is refused, for several reasons. */
export class RefusalLoad implements Disposable {
  readonly #mesh: MeshUnderTest;
  readonly #pool: RawPool;
  readonly #keys: readonly string[];
  /** Reason that each request was answered with, by the id that its client gave it. */
  readonly #answers = new Map<string, string>();

  /** Agents that it takes for so many refusals. */
  static agentsFor(refusals: number): number {
    return GROUP * Math.ceil(refusals / (GROUP * ASKED.length));
  }

  /** Gives each agent its key, and kills those who are to be killed. */
  static async of(mesh: MeshUnderTest, agents: number): Promise<RefusalLoad> {
    const names = Array.from({ length: agents }, (_, no) => `crowd/${crowdAgent(no)}`);
    const keys = await mesh.operator.issueKeys(names);
    for (let no = 0; no < agents; no += KILLED_EACH) await mesh.operator.kill(`agent/${names[no]}`);
    return new RefusalLoad(mesh, keys);
  }

  private constructor(mesh: MeshUnderTest, keys: readonly string[]) {
    this.#mesh = mesh;
    this.#keys = keys;
    this.#pool = new RawPool(mesh.altrace.ready.gateway, { connections: CONNECTIONS });
  }

  get sent(): number {
    return this.#answers.size;
  }

  /** How often each reason was given. */
  get reasons(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const reason of this.#answers.values()) counts[reason] = (counts[reason] ?? 0) + 1;
    return counts;
  }

  /** @throws Error It was not refused. */
  async ask(no: number): Promise<void> {
    const { round, agent } = placeOf(no);
    const id = `v${no}`;
    const key = this.#keys[agent] as string;
    const { body, path } = ASKED[round] as (typeof ASKED)[number];
    const { status, reason } = await this.#pool.ask({ key, id, body, path });
    if (reason === undefined) throw new Error(`expected a refusal, not ${status}`);
    this.#answers.set(id, reason);
  }

  /**
   * What the node's log says of all that was refused, by the number with which it was asked.
   *
   * @throws Error The log does not say the same as the answers, or not in time.
   */
  async recorded(): Promise<ReadonlyMap<number, RecordedRefusal>> {
    const deadlineMs = Date.now() + LOGGED_WITHIN_MS;
    for (;;) {
      const found = await this.#readLog();
      if (found.size === this.sent) return found;
      if (Date.now() > deadlineMs) {
        throw new Error(`${this.sent} were refused, and the log has ${found.size} of them`);
      }
      await pause(LOOK_EVERY_MS);
    }
  }

  [Symbol.dispose](): void {
    this.#pool.close();
  }

  async #readLog(): Promise<ReadonlyMap<number, RecordedRefusal>> {
    const { operator, altrace } = this.#mesh;
    const { mesh } = await operator.coordinator.calls.getScope({ scope: "global" });
    const { node } = await operator.node.calls.getNode({});
    const home = join(altrace.ready.home, "node");
    const entries = await EntryFiles.open(logFolder(home, { mesh, node, epoch: 1 }));
    const found = new Map<number, RecordedRefusal>();
    const always = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };
    for await (const bundle of entries.between(always, () => undefined)) {
      for (const leaf of bundle) if (leaf.includes(REFUSED)) this.#take(leaf, found);
    }
    return found;
  }

  #take(leaf: Buffer, found: Map<number, RecordedRefusal>): void {
    const decoded = decodeRecord(leaf);
    if (!decoded.ok || decoded.record.k !== "decision") return;
    const { rid, cid = "", rc, t } = decoded.record;
    const answered = this.#answers.get(cid);
    if (answered === undefined) return;
    if (answered !== rc) throw new Error(`${cid} was told ${answered}, and the log says ${rc}`);
    const no = Number(cid.slice(1));
    if (found.has(no)) throw new Error(`the log has two refusals of ${cid}`);
    const agent = `crowd/${crowdAgent(placeOf(no).agent)}`;
    found.set(no, { requestId: rid, agent, reason: rc, recordedMs: t });
  }
}

function placeOf(no: number): { readonly round: number; readonly agent: number } {
  const group = Math.floor(no / (GROUP * ASKED.length));
  const inGroup = no % (GROUP * ASKED.length);
  return { round: Math.floor(inGroup / GROUP), agent: group * GROUP + (inGroup % GROUP) };
}
