import { describe, expect, test } from "vitest";
import {
  policyRouteChanges,
  policyRouteRemovals,
  type ShownRule,
} from "../../../../node/kernel/policy-routes.ts";

const NONE = { "-4": [], "-6": [] } as const;
const lines = (commands: readonly (readonly string[])[]) =>
  commands.map((command) => command.join(" "));

/** What `ip -j rule` shows of one family once everything is in force. */
const SHOWN: readonly ShownRule[] = [
  { priority: 0, src: "all", table: "255" },
  { priority: 100, src: "all", fwmark: "0x10", fwmask: "0x10", table: "100" },
  { priority: 101, src: "all", fwmark: "0x20", fwmask: "0x20", goto: 111 },
  { priority: 105, src: "all", iif: "lo", goto: 111 },
  { priority: 105, src: "all", iif: "eth0", goto: 111 },
  { priority: 110, src: "all", table: "666" },
  { priority: 111, src: "all", nop: null },
  { priority: 512, src: "all", table: "254" },
];
const ALL = { "-4": SHOWN, "-6": SHOWN };

describe("policy routes", () => {
  test("put the hole last, after everything that must not fall into it", () => {
    const added = lines(policyRouteChanges(["lo", "eth0"], NONE)).filter((line) =>
      line.startsWith("-4 rule"),
    );
    expect(added).toEqual([
      "-4 rule add pref 111 nop",
      "-4 rule add pref 100 fwmark 0x10/0x10 lookup 100",
      "-4 rule add pref 101 fwmark 0x20/0x20 goto 111",
      "-4 rule add pref 105 iif lo goto 111",
      "-4 rule add pref 105 iif eth0 goto 111",
      "-4 rule add pref 110 lookup 666",
    ]);
  });

  test("lead what was captured here, and the rest nowhere", () => {
    const routes = lines(policyRouteChanges(["lo"], NONE)).filter((line) => / route /.test(line));
    for (const family of ["-4", "-6"]) {
      const of = routes.filter((line) => line.startsWith(family));
      expect(of).toEqual([
        expect.stringMatching(/ route replace local .* dev lo .*table 100$/),
        expect.stringMatching(/ route replace blackhole default .*table 666$/),
      ]);
    }
  });

  test("are the same for both families", () => {
    const both = lines(policyRouteChanges(["lo"], NONE));
    const of = (family: string) =>
      both.filter((line) => line.startsWith(family)).map((line) => line.slice(3));
    expect(of("-6")).toEqual(of("-4"));
  });

  test("that stand are not touched, and those of others never are", () => {
    const rules = lines(policyRouteChanges(["lo", "eth0"], ALL)).filter((l) =>
      l.includes(" rule "),
    );
    expect(rules).toEqual([]);
  });

  test("of an interface that leads elsewhere no longer go, after the new ones came", () => {
    const rules = lines(policyRouteChanges(["lo", "eth1"], ALL)).filter((l) => /-4 rule/.test(l));
    expect(rules).toEqual([
      "-4 rule add pref 105 iif eth1 goto 111",
      "-4 rule del pref 105 iif eth0 goto 111",
    ]);
  });

  test("are missed where somebody else has a rule at their preference, which stays", () => {
    const foreign: readonly ShownRule[] = [
      { priority: 100, src: "all", table: "255" },
      { priority: 101, src: "10.0.0.0/8", fwmark: "0x20", fwmask: "0x20", goto: 111 },
      { priority: 105, src: "all", iif: "eth0", table: "254" },
      { priority: 110, src: "all", table: "254" },
    ];
    const changes = lines(policyRouteChanges(["eth0"], { "-4": foreign, "-6": SHOWN }));
    expect(changes.filter((line) => / rule /.test(line))).toEqual([
      "-4 rule add pref 111 nop",
      "-4 rule add pref 100 fwmark 0x10/0x10 lookup 100",
      "-4 rule add pref 101 fwmark 0x20/0x20 goto 111",
      "-4 rule add pref 105 iif lo goto 111",
      "-4 rule add pref 105 iif eth0 goto 111",
      "-4 rule add pref 110 lookup 666",
    ]);
    const removed = lines(policyRouteRemovals({ "-4": foreign, "-6": [] }));
    expect(removed.filter((line) => / rule /.test(line))).toEqual([]);
  });

  test("are taken away without those of others", () => {
    const removed = lines(policyRouteRemovals(ALL)).filter((line) => line.startsWith("-6"));
    expect(removed).toEqual([
      "-6 rule del pref 100 fwmark 0x10/0x10 lookup 100",
      "-6 rule del pref 101 fwmark 0x20/0x20 goto 111",
      "-6 rule del pref 105 iif lo goto 111",
      "-6 rule del pref 105 iif eth0 goto 111",
      "-6 rule del pref 110 lookup 666",
      "-6 rule del pref 111 nop",
      "-6 route flush table 100",
      "-6 route flush table 666",
    ]);
  });
});
