import { BRIDGE_TABLE } from "./bridge-table.ts";
import { daemonsetRuleset, TABLE } from "./daemonset-ruleset.ts";
import type { HostCommand } from "./host-command.ts";
import type { KernelView } from "./kernel-view.ts";
import {
  type IpCommand,
  type IpFamily,
  policyRouteChanges,
  policyRouteRemovals,
  type ShownRule,
} from "./policy-routes.ts";
import { type RuleListing, readPacketCounts, readRuleListing } from "./rule-listing.ts";

/** A program of the machine refused; its own words say why. */
export class RuleFault extends Error {
  override readonly name = "RuleFault";
}

/**
 * Puts rules and routes in force, looks whether they still are, and takes them away when asked to.
 *
 * Routes come before rules: while only they stand, pods reach nothing. Nothing is taken away when this
 * process ends: what an operator wants gone is uninstalled.
 */
export class RuleKeeper {
  readonly #run: HostCommand;
  #infra: readonly string[] = [];
  #expected: readonly (string | undefined)[] | undefined;
  /** Closed without a kill, as far as was known at the look before. */
  #strays: readonly string[] = [];
  #counting: Promise<ReadonlyMap<string, number>> | undefined;

  constructor(run: HostCommand) {
    this.#run = run;
  }

  /**
   * One transaction: the rules are the new ones, or those that were.
   *
   * @param onInForce Called as soon as they are: what was killed or revived meanwhile is not in them.
   * @throws RuleFault
   */
  async load(view: KernelView, onInForce: () => void = () => undefined): Promise<void> {
    const text = daemonsetRuleset(view);
    await this.#routes(view.infra);
    await this.#must("nft", ["-f", "-"], text);
    onInForce();
    this.#infra = view.infra;
    // A bridge that is gone leaves a table behind, and none is no error.
    if (view.bridges.length === 0)
      await this.#run("nft", ["delete", "table", "bridge", BRIDGE_TABLE]);
    this.#expected = (await this.#listings()).map((text) => text && readRuleListing(text).form);
  }

  /**
   * What is not as it was loaded, in words; empty when all is.
   *
   * @param killedNow What the kernel must hold as killed. Asked before and after, because a kill or a
   *   revive may come while the rules are read.
   */
  async missing(killedNow: () => readonly string[]): Promise<readonly string[]> {
    if (this.#expected === undefined) return ["the rules were never loaded"];
    const wrong: string[] = [];
    const before = killedNow();
    const listings = (await this.#listings()).map((text) => text && readRuleListing(text));
    const after = killedNow();
    const isSame = this.#expected.every((form, i) => (listings[i] as RuleListing)?.form === form);
    if (!isSame) wrong.push("rules were changed or removed");
    const held = (listings[0] as RuleListing | undefined)?.killed ?? [];
    if (before.some((address) => after.includes(address) && !held.includes(address)))
      wrong.push("a killed address is open");
    // Twice in a row: one that has just been closed may be of a kill that is still on its way here.
    const known = new Set([...before, ...after]);
    const strays = held.filter((address) => !known.has(address));
    if (strays.some((address) => this.#strays.includes(address)))
      wrong.push("an address is closed that is not killed");
    this.#strays = strays;
    const changes = policyRouteChanges(this.#infra, await this.#shownRules());
    if (changes.some(([, what]) => what === "rule")) wrong.push("policy routes were removed");
    if (!(await this.#hasHoles())) wrong.push("routes were removed");
    return wrong;
  }

  /** What the rules have done since they were loaded: packets, by what became of them. None while there are no rules. */
  packets(): Promise<ReadonlyMap<string, number>> {
    // Whoever may ask may ask often: one program at a time.
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined;
    });
    return this.#counting;
  }

  async #count(): Promise<ReadonlyMap<string, number>> {
    const listed = await this.#run("nft", ["-j", "list", "counters", "table", "inet", TABLE]);
    return listed.code === 0 ? readPacketCounts(listed.output) : new Map();
  }

  /** Takes rules and routes away. @throws RuleFault */
  async uninstall(): Promise<void> {
    for (const [family, table] of [
      ["inet", TABLE],
      ["bridge", BRIDGE_TABLE],
    ] as const) {
      // Declared first, so that what is not there is no error.
      await this.#must(
        "nft",
        ["-f", "-"],
        `table ${family} ${table}\ndelete table ${family} ${table}\n`,
      );
    }
    for (const command of policyRouteRemovals(await this.#shownRules())) {
      const { code, errors } = await this.#run("ip", command);
      if (code !== 0 && !/No such|does not exist/.test(errors)) throw fault("ip", command, errors);
    }
    this.#expected = undefined;
  }

  async #routes(infra: readonly string[]): Promise<void> {
    const changes = policyRouteChanges(infra, await this.#shownRules());
    // In their order within a family; the families know nothing of each other.
    const inOrder = async (family: IpFamily) => {
      for (const command of changes) if (command[0] === family) await this.#must("ip", command);
    };
    await Promise.all([inOrder("-4"), inOrder("-6")]);
  }

  async #shownRules(): Promise<Record<IpFamily, readonly ShownRule[]>> {
    const of = async (family: IpFamily) =>
      JSON.parse(
        (await this.#must("ip", ["-N", "-j", family, "rule", "show"])) || "[]",
      ) as ShownRule[];
    const [v4, v6] = await Promise.all([of("-4"), of("-6")]);
    return { "-4": v4, "-6": v6 };
  }

  /** Both tables as the kernel shows them; undefined for one that is not there. */
  async #listings(): Promise<readonly (string | undefined)[]> {
    const of = async (family: string, table: string) => {
      const { code, output } = await this.#run("nft", ["-s", "list", "table", family, table]);
      return code === 0 ? output : undefined;
    };
    return Promise.all([of("inet", TABLE), of("bridge", BRIDGE_TABLE)]);
  }

  async #hasHoles(): Promise<boolean> {
    for (const family of ["-4", "-6"]) {
      const hole = await this.#run("ip", [family, "route", "show", "table", "666"]);
      const local = await this.#run("ip", [family, "route", "show", "table", "100"]);
      if (!hole.output.includes("blackhole") || !local.output.includes("local")) return false;
    }
    return true;
  }

  async #must(program: string, args: IpCommand, input?: string): Promise<string> {
    const { code, output, errors } = await this.#run(program, args, input);
    if (code !== 0) throw fault(program, args, errors);
    return output;
  }
}

function fault(program: string, args: readonly string[], errors: string): RuleFault {
  return new RuleFault(`${program} ${args.join(" ")}: ${errors.trim().slice(0, 2_000)}`);
}
