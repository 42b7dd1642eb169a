import { wishBody } from "../fixtures/upstream.ts";
import { type Answer, closedLoop } from "./closed-loop.ts";
import type { MeshUnderTest } from "./mesh-under-test.ts";

const CONNECTIONS = 6;
const PAUSE_MS = 1;

/** What the agent that is killed over and over asks: at full pace or not at all, as whoever kills it says. */
export class TargetRequests {
  sent = 0;
  /** How often each answer was given. */
  readonly answers: Record<string, number> = {};
  readonly #mesh: MeshUnderTest;
  #gate = Promise.withResolvers<void>();

  constructor(mesh: MeshUnderTest) {
    this.#mesh = mesh;
  }

  /** Resolves when the signal said stop and the last answer is there. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#gate.resolve(), { once: true });
    const options = {
      origin: this.#mesh.altrace.ready.gateway,
      key: this.#mesh.keys.target,
      connections: CONNECTIONS,
      pauseMs: PAUSE_MS,
      turn: () => this.#gate.promise,
      next: () => {
        this.sent += 1;
        const id = `k${this.sent}`;
        return { id, body: wishBody("answer", id) };
      },
      onAnswer: ({ status, reason }: Answer) => this.#count(`${status} ${reason ?? "ok"}`),
      // A cut connection is one way in which a kill ends a request.
      onBroken: () => this.#count("broken"),
    };
    await closedLoop(options, signal);
  }

  begin(): void {
    this.#gate.resolve();
  }

  /** What was asked before is still answered. */
  rest(): void {
    this.#gate = Promise.withResolvers();
  }

  #count(word: string): void {
    this.answers[word] = (this.answers[word] ?? 0) + 1;
  }
}
