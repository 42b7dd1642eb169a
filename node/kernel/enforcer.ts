import type { Cancel, Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import type { KernelFault } from "../../proto/kernel-faults.ts";
import { canonicalAddress } from "./address-bytes.ts";
import { settleAddresses } from "./contested.ts";
import { daemonsetRuleset } from "./daemonset-ruleset.ts";
import type { GateAnswer, GatePod, GateQuestion } from "./gate-messages.ts";
import type { HostFollow } from "./host-command.ts";
import type { KeptPods } from "./kept-pods.ts";
import type { Gated, KernelGate } from "./kernel-gate.ts";
import { type Machine, type MappedPods, mapPods } from "./link-map.ts";
import type { Pod, PodSource } from "./pod.ts";
import type { RuleKeeper } from "./rule-keeper.ts";
import { isChangeOfOurs } from "./rule-watch.ts";

// Keeps the walls of one machine as its pods and the kills have it.
//
// E1. Rules stand before anybody has told of a pod: for those that are where the last enforcer had them, and no others. Whoever
//     else there is, is a stranger and reaches nothing.
// E2. Loads and looks come one after the other. What comes meanwhile is done in one further load.
// E3. A rule that somebody took away is loaded again as soon as the kernel tells of it, and a look
//     every `checkMs` finds what it did not tell.
// E4. Nothing is taken away when this ends.
// E5. An address that several pods have is nobody's, and keeps no other pod's rules from being loaded.

/** Loads that failed are tried again so much later. */
const RETRY_MS = 1_000;
/** Changes that come together are one load. */
const GATHER_MS = 20;

export type EnforcerDeps = {
  readonly clock: Clock;
  readonly keeper: RuleKeeper;
  readonly gate: KernelGate;
  readonly pods: PodSource;
  readonly kept: Pick<KeptPods, "on" | "keep">;
  readonly readMachine: () => Promise<Machine>;
  readonly follow: HostFollow;
  readonly infraLinks: readonly string[];
  readonly checkMs: number;
  readonly events: EnforcerEvents;
};

export type EnforcerEvents = {
  readonly onLoaded: (pods: number, tookNs: bigint) => void;
  /** Somebody changed what must stand; it is loaded again. */
  readonly onRepair: (wrong: readonly string[]) => void;
  readonly onUnplaced: (pods: readonly Pod[]) => void;
  /** Addresses that several pods have, each as the stranger that it is now; told when they change. */
  readonly onContested: (addresses: readonly Pod[]) => void;
  readonly onFault: (what: string) => void;
  /** Pods that are governed, and which of them are killed, whenever either changes. */
  readonly onGoverned: (pods: readonly GovernedPod[]) => void;
  /** For everybody who listens at the gate. */
  readonly onAnswer: (answer: GateAnswer) => void;
};

export type GovernedPod = { readonly uid: string; readonly isKilled: boolean };

export class Enforcer {
  readonly #deps: EnforcerDeps;
  /** Ends what is followed, by its program: one that is started again takes the place of the one before. */
  readonly #stops = new Map<string, () => void>();
  #pods: readonly Pod[] = [];
  /** Somebody has told of the pods. Until then they are those of before, for as long as each stays where it was. */
  #isListed = false;
  #isUntold = false;
  #loaded: string | undefined;
  #fault: string | undefined = "rules were never loaded";
  #canary: readonly KernelFault[] = [];
  #wanted = new Set<"load" | "look">();
  #isBusy = false;
  #timer: Cancel | undefined;
  #told = "";
  #contested = "[]";
  #isStopped = false;

  constructor(deps: EnforcerDeps) {
    this.#deps = deps;
  }

  /** Resolves once rules stand that let no pod out. */
  async start(): Promise<void> {
    const { gate, pods } = this.#deps;
    await this.#load();
    pods.start((listed) => {
      this.#isListed = true;
      const settled = settleAddresses(listed);
      this.#pods = settled.pods;
      this.#tellContested(settled.contested);
      gate.setPods(this.#pods);
      // First, whatever becomes of telling others.
      this.#want("load");
      this.#tellPods();
    });
    this.#follow("nft", ["monitor"], (line) => {
      if (isChangeOfOurs(line)) this.#want("look");
    });
    this.#follow("ip", ["monitor", "link", "route"], () => this.#want("load"));
    this.#lookLater();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.();
    for (const stop of this.#stops.values()) stop();
    this.#deps.pods.stop();
  }

  /** A node's word. */
  answer(question: GateQuestion): GateAnswer {
    const { gate } = this.#deps;
    const change = (): Gated => {
      if (question.t === "killed") return gate.replace(question.scopes);
      return question.t === "kill" ? gate.kill(question.scope) : gate.revive(question.scope);
    };
    const gated = change();
    this.#tellGoverned();
    return { t: "done", n: question.n, ...(!gated.isGated && { error: gated.error }) };
  }

  /** Who has which address. Strangers are among them, because they are to be seen. */
  podsAnswer(): GateAnswer {
    const pods = this.#pods.filter(({ exempt }) => !exempt);
    return { t: "pods", pods: pods.flatMap(gatePods) };
  }

  /** Why nothing must be relied on now; empty when all is well. */
  wrong(): readonly KernelFault[] {
    const fault = (rc: KernelFault["rc"], what: string | undefined): readonly KernelFault[] =>
      what === undefined ? [] : [{ rc, what }];
    return [
      ...fault("kernel_rules_down", this.#fault),
      ...fault("kernel_pods_stale", this.#deps.pods.staleBecause()),
      ...this.#canary,
    ];
  }

  stateAnswer(): GateAnswer {
    return { t: "state", wrong: this.wrong() };
  }

  /** What the canary found; empty when it was stopped everywhere. */
  noteCanary(wrong: readonly KernelFault[]): void {
    this.#canary = wrong;
    this.#tellState();
  }

  get pods(): readonly Pod[] {
    return this.#pods;
  }

  #want(what: "load" | "look"): void {
    if (this.#isStopped) return;
    this.#wanted.add(what);
    this.#timer ??= this.#deps.clock.after(GATHER_MS, () => {
      this.#timer = undefined;
      void this.#work();
    });
  }

  async #work(): Promise<void> {
    if (this.#isBusy || this.#isStopped) return;
    this.#isBusy = true;
    const wanted = this.#wanted;
    this.#wanted = new Set();
    try {
      // One is not in place of the other: what would be loaded may be what was, and gone all the same.
      if (wanted.has("load")) await this.#load();
      if (wanted.has("look")) await this.#look();
      this.#fault = undefined;
    } catch (error) {
      this.#fault = errorMessage(error);
      this.#deps.events.onFault(this.#fault);
      this.#loaded = undefined;
      this.#deps.clock.after(RETRY_MS, () => this.#want("load"));
    } finally {
      this.#isBusy = false;
      this.#tellState();
      for (const what of this.#wanted) this.#want(what);
    }
  }

  async #load(): Promise<void> {
    const { events, kept, infraLinks } = this.#deps;
    const machine = await this.#deps.readMachine();
    if (!this.#isListed) this.#recall(kept.on(machine, infraLinks));
    const { view, placed, unplaced } = mapPods(machine, this.#pods, infraLinks);
    // Without the killed: they change by themselves, and are part of whatever is loaded.
    const text = daemonsetRuleset({ ...view, killed: [] });
    if (unplaced.length > 0) events.onUnplaced(unplaced);
    if (text !== this.#loaded) await this.#replace(view, text);
    kept.keep(placed, machine);
    // The first time not before there are rules: who waits for them looks for what is told.
    if (this.#isUntold) this.#tellPods();
  }

  #recall(pods: readonly Pod[]): void {
    if (JSON.stringify(pods) === JSON.stringify(this.#pods)) return;
    this.#pods = pods;
    this.#deps.gate.setPods(pods);
    this.#isUntold = true;
  }

  async #replace(view: MappedPods["view"], text: string): Promise<void> {
    const { keeper, gate, events, clock } = this.#deps;
    const startedNs = clock.monoNs();
    const killed = gate.killedAddresses();
    await keeper.load({ ...view, killed }, () => gate.loaded(killed));
    this.#loaded = text;
    this.#fault = undefined;
    events.onLoaded(view.pods.length, clock.monoNs() - startedNs);
  }

  async #look(): Promise<void> {
    const { keeper, gate, events } = this.#deps;
    const wrong = await keeper.missing(() => gate.killedAddresses());
    if (wrong.length === 0) return;
    events.onRepair(wrong);
    // Told before it is mended: that it was so, for however short a time, is a fact of its own.
    this.#fault = wrong.join(", ");
    this.#tellState();
    this.#loaded = undefined;
    await this.#load();
  }

  #lookLater(): void {
    this.#deps.clock.after(this.#deps.checkMs, () => {
      if (this.#isStopped) return;
      this.#want("look");
      this.#lookLater();
    });
  }

  /** A program that ends is started again: it may have been killed, or the kernel told too much. */
  #follow(program: string, args: readonly string[], onLine: (line: string) => void): void {
    const stop = this.#deps.follow(program, args, {
      line: onLine,
      end: () => {
        if (this.#isStopped) return;
        this.#want("look");
        this.#deps.clock.after(RETRY_MS, () => {
          if (!this.#isStopped) this.#follow(program, args, onLine);
        });
      },
    });
    this.#stops.set(program, stop);
  }

  #tellPods(): void {
    this.#isUntold = false;
    this.#deps.events.onAnswer(this.podsAnswer());
    this.#tellGoverned();
  }

  #tellGoverned(): void {
    const { gate, events } = this.#deps;
    const governed = this.#pods.filter(({ exempt }) => !exempt);
    events.onGoverned(governed.map(({ uid, agent }) => ({ uid, isKilled: gate.isKilled(agent) })));
  }

  #tellContested(contested: readonly Pod[]): void {
    const text = JSON.stringify(contested);
    if (text !== this.#contested) this.#deps.events.onContested(contested);
    this.#contested = text;
  }

  #tellState(): void {
    const state = this.stateAnswer();
    const text = JSON.stringify(state);
    if (text === this.#told) return;
    this.#told = text;
    this.#deps.events.onAnswer(state);
  }
}

function gatePods({ agent, namespace, name, addresses }: Pod): readonly GatePod[] {
  return addresses.map((address) => ({
    address: canonicalAddress(address),
    namespace,
    name,
    ...(agent && { agent: `${agent.team}/${agent.agent}` }),
  }));
}
