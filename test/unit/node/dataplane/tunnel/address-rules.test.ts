import { describe, expect, test } from "vitest";
import {
  createAddressRules,
  parseRange,
} from "../../../../../node/dataplane/tunnel/address-rules.ts";

const rules = createAddressRules([]);

describe("addresses of destinations", () => {
  test.each([
    "127.0.0.1",
    "10.0.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "198.18.0.1",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fc00::1",
    "ff02::1",
    "2001:db8::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "0:0:0:0:0:ffff:10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::",
    "2001:0:1::1",
    // Not what a resolver says, but what somebody may hope is taken for an address.
    "2130706433",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "localhost",
    "",
  ])("refuse %s", (address) => {
    expect(rules.permits(address)).toBe(false);
  });

  test.each(["8.8.8.8", "2606:4700::6810:1", "::ffff:8.8.8.8", "64:ff9b::808:808"])(
    "permit %s",
    (address) => {
      expect(rules.permits(address)).toBe(true);
    },
  );

  test("an operator opens private ranges, and never those that speak for the machine", () => {
    const ranges = ["10.1.0.0/16", "fd12::/16", "169.254.0.0/16", "fe80::/10"];
    const opened = createAddressRules(ranges.map((text) => parseRange(text) ?? ["", 0]));
    expect(opened.permits("10.1.2.3")).toBe(true);
    expect(opened.permits("::ffff:10.1.2.3")).toBe(true);
    expect(opened.permits("fd12::1")).toBe(true);
    expect(opened.permits("10.2.0.1")).toBe(false);
    expect(opened.permits("169.254.169.254")).toBe(false);
    expect(opened.permits("fe80::1")).toBe(false);
  });

  test("a range is an address and its bits", () => {
    expect(parseRange("10.0.0.0/8")).toEqual(["10.0.0.0", 8]);
    expect(parseRange("fd00::/8")).toEqual(["fd00::", 8]);
    for (const text of ["10.0.0.0", "10.0.0.0/33", "0.0.0.0/0", "::/0", "a/8", "10.0.0.0/ 8"]) {
      expect(parseRange(text)).toBeUndefined();
    }
  });
});
