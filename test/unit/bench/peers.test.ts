import { describe, expect, test } from "vitest";
import { treeOf } from "../../../bench/harness/process-tree.ts";
import { bifrost } from "../../../bench/peers/bifrost.ts";
import { litellm } from "../../../bench/peers/litellm.ts";
import type { Round } from "../../../bench/peers/measure-rounds.ts";
import { nginx } from "../../../bench/peers/nginx.ts";
import { PEER_KEY } from "../../../bench/peers/peer.ts";
import { peerTable } from "../../../bench/peers/peer-table.ts";
import { portkey } from "../../../bench/peers/portkey.ts";

const OPTIONS = {
  folder: "/tools/it",
  scratch: "/scratch",
  upstream: "http://127.0.0.1:5001",
  port: 5002,
};

describe("launch", () => {
  test.each([nginx, litellm, bifrost, portkey])(
    "$name is told where to listen and whom to ask",
    (peer) => {
      const { args, files, headers = {} } = peer.launch(OPTIONS);
      const told = [...args, ...Object.values(files), ...Object.values(headers)].join(" ");
      expect(told).toContain("5002");
      expect(told).toContain("127.0.0.1:5001");
    },
  );

  test.each([nginx, litellm, bifrost])("$name listens on loopback alone", (peer) => {
    const { args, files } = peer.launch(OPTIONS);
    expect([...args, ...Object.values(files)].join(" ")).toMatch(/127\.0\.0\.1[: ].*5002/);
  });

  test("who checks a key is given the one that is shown", () => {
    expect(litellm.launch(OPTIONS).files["config.yaml"]).toContain(PEER_KEY);
  });
});

function round(direct: number, own: number): Round {
  const slice = (ms: number) => ({ perSecond: 1000 / ms, cpuMicros: ms, p50Ms: ms, p99Ms: 2 * ms });
  return new Map([
    ["direct", { answer: slice(direct), stream: slice(10 * direct) }],
    ["own", { answer: slice(own), stream: slice(10 * own) }],
  ]);
}

describe("peerTable", () => {
  const targets = ["direct", "own"].map((name) => ({ name, origin: "", key: "" }));
  const of = {
    targets,
    coldStartMs: new Map([["own", 12.4]]),
    versions: new Map([["own", "1.2"]]),
  };

  test("what is added is compared within a round, and one bad round is nobody's figure", () => {
    const rounds = [round(1, 4), round(7, 10), round(2, 5), round(50, 900), round(3, 6)];
    const [, direct, own] = peerTable({ ...of, rounds });
    expect(direct?.slice(0, 5)).toEqual(["direct", "333 (20 to 1000)", "", "", ""]);
    expect(own).toEqual([
      "own 1.2",
      "167 (1 to 250)",
      "6 (4 to 900)",
      "3.00 (3.00 to 850.00)",
      "6.00 (6.00 to 1700.00)",
      "17 (0 to 25)",
      "60 (40 to 9000)",
      "30.00 (30.00 to 8500.00)",
      "60.00 (60.00 to 17000.00)",
      "",
      "12",
    ]);
  });

  test("a target that was not measured has no row that looks as if it was", () => {
    const rounds = [new Map([["direct", round(1, 1).get("direct") as never]])];
    expect(() => peerTable({ ...of, rounds })).toThrow("own has no answer");
  });
});

test("a tree has the children of a process, and theirs", () => {
  expect(treeOf(process.ppid)).toContain(process.pid);
  expect(treeOf(process.pid)[0]).toBe(process.pid);
});
