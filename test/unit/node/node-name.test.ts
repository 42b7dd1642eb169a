import { expect, test } from "vitest";
import { NODE_SETTINGS } from "../../../node/config.ts";

const { read } = NODE_SETTINGS.nodeId;

test("a node is called as its machine is, with hyphens for dots", () => {
  expect(read("ip-10-0-1-2.eu-central-1.compute.internal")).toBe(
    "ip-10-0-1-2-eu-central-1-compute-internal",
  );
  expect(read("node-1")).toBe("node-1");
});

test.each(["", ".", "a.", ".a", "A", "a_b", `${"a".repeat(60)}.bcd`])(
  "%j is no machine's name that makes one",
  (name) => {
    expect(() => read(name)).toThrow("at most 63");
  },
);
