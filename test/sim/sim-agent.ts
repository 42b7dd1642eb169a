import { enforce } from "../../node/enforce.ts";
import { uuidV7 } from "../../ports/random.ts";
import type { Draw } from "./draw.ts";
import { type ClientConduct, type ClientOutcome, SimExchange } from "./sim-exchange.ts";
import type { NodeRun, SimNode } from "./sim-node.ts";
import { MODEL, OUTPUT_TOKENS_MAX } from "./sim-policy.ts";
import type { Surroundings } from "./surroundings.ts";

const PAUSE_MS = { min: 30, max: 1_500 };
const QUICK_PAUSE_MS = { min: 20, max: 160 };
const QUICK_WISH = { contentBytes: 10, outputTokens: 1, stream: false, bodyMs: 1 };
const PATIENT: ClientConduct = { bodyMs: 1, gonesAfterMs: undefined };
/** How often a quick agent turns to another node. */
const TURN_SHARE = 0.04;
const BURSTS = [1, 1, 1, 2, 3, 6, 12] as const;
const OPEN_MAX = 40;
/** Beyond 16 KiB a body goes through the inspect pool. */
const SIZES = [10, 200, 2_000, 12_000, 20_000] as const;
const OUTPUT_LIMITS = [1, 64, 500, OUTPUT_TOKENS_MAX, 1_000_000] as const;

/** What an agent asks for. */
export type Wish = {
  readonly contentBytes: number;
  /** Absent: as many as there are. */
  readonly outputTokens: number | undefined;
  readonly stream: boolean;
  readonly bodyMs: number;
  readonly gonesAfterMs: number | undefined;
};

/**
 * An agent that knows the rules and wants to spend more than it was given: it asks in bursts, on all
 * nodes at once, for as much as there is, names no limit, and leaves before it is told what it cost.
 */
export class SimAgent {
  readonly agentId: string;
  readonly #key: string;
  readonly #world: Surroundings;
  readonly #nodes: readonly SimNode[];
  readonly #draw: Draw;
  readonly isQuick: boolean;
  /** Where a quick agent asks most. */
  #at: SimNode;
  #isStopped = false;
  #open = 0;

  constructor(
    world: Surroundings,
    of: {
      readonly agentId: string;
      readonly key: string;
      readonly nodes: readonly SimNode[];
      readonly draw: Draw;
      /** It asks for little, and often. */
      readonly isQuick: boolean;
    },
  ) {
    this.#world = world;
    this.agentId = of.agentId;
    this.#key = of.key;
    this.#nodes = of.nodes;
    this.#draw = of.draw;
    this.isQuick = of.isQuick;
    this.#at = of.draw.pick(of.nodes);
  }

  /** Requests that have not ended. */
  get open(): number {
    return this.#open;
  }

  start(): void {
    if (this.isQuick) this.#hurry();
    else this.#go();
  }

  #hurry(): void {
    const draw = this.#draw;
    this.#world.time.after(draw.between(QUICK_PAUSE_MS.min, QUICK_PAUSE_MS.max), () => {
      if (this.#isStopped) return;
      if (draw.chance(TURN_SHARE)) this.#at = draw.pick(this.#nodes);
      const node = draw.chance(0.8) ? this.#at : draw.pick(this.#nodes);
      if (this.#open < OPEN_MAX) void this.ask(node, { ...QUICK_WISH, gonesAfterMs: undefined });
      this.#hurry();
    });
  }

  #go(): void {
    const draw = this.#draw;
    this.#world.time.after(draw.between(PAUSE_MS.min, PAUSE_MS.max), () => {
      if (this.#isStopped) return;
      const isSpread = draw.chance(0.4);
      const one = draw.pick(this.#nodes);
      const count = draw.pick(BURSTS);
      for (let i = 0; i < count && this.#open < OPEN_MAX; i++) {
        void this.ask(isSpread ? draw.pick(this.#nodes) : one, this.#wish());
      }
      this.#go();
    });
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Undefined when nobody listens there. */
  ask(node: SimNode, wish: Wish): Promise<ClientOutcome | undefined> {
    return this.#post(node, "/v1/chat/completions", wish, (requestId) => bodyOf(requestId, wish));
  }

  /** Asks for a part of its own contract to be delegated. Undefined when nobody listens there. */
  delegate(node: SimNode, wish: object): Promise<ClientOutcome | undefined> {
    const body = Buffer.from(JSON.stringify(wish));
    return this.#post(node, "/altrace/v1/delegations", PATIENT, () => body);
  }

  async #post(
    { run }: SimNode,
    target: string,
    conduct: ClientConduct,
    bodyFor: (requestId: string) => Buffer,
  ): Promise<ClientOutcome | undefined> {
    if (run === undefined) return undefined;
    const { clock, random } = run.process;
    const requestId = uuidV7(clock.nowMs(), random);
    const exchange = new SimExchange(requestId, this.#head(target), {
      process: run.process,
      connections: run.connections,
      body: bodyFor(requestId),
      conduct,
    });
    run.connections.register(exchange);
    this.#open += 1;
    this.#serve(exchange, run);
    const outcome = await exchange.done;
    this.#open -= 1;
    return outcome;
  }

  #serve(exchange: SimExchange, run: NodeRun): void {
    enforce(exchange, run.loop).catch((error: unknown) => {
      if (run.process.isAlive) this.#world.tell({ t: "bug", where: "enforce", error });
    });
  }

  #head(target: string) {
    const { agentId } = this;
    return {
      method: "POST",
      target,
      rawHeaders: ["content-type", "application/json", "authorization", `Bearer ${this.#key}`],
      peer: agentId,
    };
  }

  #wish(): Wish {
    const draw = this.#draw;
    return {
      contentBytes: draw.below(draw.pick(SIZES)),
      outputTokens: draw.chance(0.4) ? undefined : draw.pick(OUTPUT_LIMITS),
      stream: draw.chance(0.5),
      bodyMs: draw.chance(0.1) ? draw.unit() * 3_000 : draw.unit() * 5,
      gonesAfterMs: draw.chance(0.15) ? draw.unit() * 2_000 : undefined,
    };
  }
}

function bodyOf(requestId: string, { contentBytes, outputTokens, stream }: Wish): Buffer {
  const content = `${requestId} ${"x".repeat(contentBytes)}`;
  const limit = outputTokens === undefined ? {} : { max_completion_tokens: outputTokens };
  const value = { model: MODEL, ...limit, messages: [{ role: "user", content }] };
  return Buffer.from(JSON.stringify(stream ? { ...value, stream } : value));
}
