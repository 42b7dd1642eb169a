import { expect, test } from "vitest";
import type { HostCommand } from "../../../../node/kernel/host-command.ts";
import { RuleKeeper } from "../../../../node/kernel/rule-keeper.ts";

const RULES = [
  { priority: 100, src: "all", fwmark: "0x10", fwmask: "0x10", table: "100" },
  { priority: 101, src: "all", fwmark: "0x20", fwmask: "0x20", goto: 111 },
  ...["lo", "eth0"].map((iif) => ({ priority: 105, src: "all", iif, goto: 111 })),
  { priority: 110, src: "all", table: "666" },
  { priority: 111, src: "all", nop: null },
];

/** A keeper whose machine has everything that was loaded, and these addresses closed. */
async function keeperOf(held: { now: string[] }) {
  const run: HostCommand = async (program, args) => {
    const said = (output: string) => ({ code: 0, output, errors: "" });
    if (args.includes("rule")) return said(JSON.stringify(RULES));
    if (program === "ip") return said("blackhole default\nlocal default");
    const elements = held.now.length === 0 ? "" : `\t\telements = { ${held.now.join(", ")} }\n`;
    return said(`\tset killed4 {\n\t\ttype ipv4_addr\n${elements}\t}\n`);
  };
  const keeper = new RuleKeeper(run);
  await keeper.load({ infra: ["eth0"], bridges: [], pods: [], killed: [] });
  return keeper;
}

/** What is killed at each look at it, before the rules are read and after. */
function asked(...looks: readonly string[][]): () => readonly string[] {
  let at = 0;
  return () => looks[at++] ?? [];
}

test("rules are told to be in force before they are read back", async () => {
  const programs: string[] = [];
  const run: HostCommand = async (program, args) => {
    programs.push(`${program} ${args[0]}`);
    return { code: 0, output: args.includes("rule") ? JSON.stringify(RULES) : "", errors: "" };
  };
  let before: string[] = [];
  await new RuleKeeper(run).load({ infra: ["eth0"], bridges: [], pods: [], killed: [] }, () => {
    before = [...programs];
  });
  expect(before.at(-1)).toBe("nft -f");
  expect(programs.length).toBeGreaterThan(before.length);
});

test("a kill or a revive that comes while the rules are read is no fault", async () => {
  const held = { now: [] as string[] };
  const keeper = await keeperOf(held);
  expect(await keeper.missing(asked(["10.0.0.1"], []))).toEqual([]);
  expect(await keeper.missing(asked([], ["10.0.0.1"]))).toEqual([]);
  held.now = ["10.0.0.1"];
  for (const looks of [
    [["10.0.0.1"], []],
    [[], ["10.0.0.1"]],
  ])
    expect(await keeper.missing(asked(...looks))).toEqual([]);
  held.now = [];
  expect(await keeper.missing(() => ["10.0.0.1"])).toEqual(["a killed address is open"]);
});

test("an address that is closed without a kill is a fault at the second look", async () => {
  const keeper = await keeperOf({ now: ["10.0.0.1"] });
  expect(await keeper.missing(() => [])).toEqual([]);
  expect(await keeper.missing(() => [])).toEqual(["an address is closed that is not killed"]);
  expect(await keeper.missing(() => ["10.0.0.1"])).toEqual([]);
  expect(await keeper.missing(() => [])).toEqual([]);
});

test("packets are counted by one program at a time, and none are while there are no rules", async () => {
  const counter = { family: "inet", name: "over", table: "altrace", packets: 7, bytes: 420 };
  const output = JSON.stringify({ nftables: [{ metainfo: {} }, { counter }] });
  const asked: string[] = [];
  let code = 0;
  const keeper = new RuleKeeper(async (program, args) => {
    asked.push([program, ...args].join(" "));
    return { code, output: code === 0 ? output : "", errors: "" };
  });
  const both = await Promise.all([keeper.packets(), keeper.packets()]);
  expect(both.map((one) => [...one])).toEqual([[["over", 7]], [["over", 7]]]);
  expect(asked).toEqual(["nft -j list counters table inet altrace"]);
  code = 1;
  expect(await keeper.packets()).toEqual(new Map());
});
