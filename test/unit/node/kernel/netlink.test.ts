import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressBytes, canonicalAddress } from "../../../../node/kernel/address-bytes.ts";
import { netlinkMessage, netlinkMessages } from "../../../../node/kernel/netlink-message.ts";
import {
  BATCH_ADDRESSES_MAX,
  batchResult,
  killedSetBatch,
} from "../../../../node/kernel/set-elements.ts";
import { destroyRequests, socketsRequest } from "../../../../node/kernel/socket-sweep.ts";

const TYPE_ERROR = 2;
const BY_FAMILY = 20;

function ack(code: number): Buffer {
  const body = Buffer.alloc(20);
  body.writeInt32LE(-code, 0);
  return netlinkMessage({ type: TYPE_ERROR, flags: 0, no: 1, body });
}

/** What the kernel says of a socket with this peer. */
function socketOf(peer: string, family: 4 | 6): Buffer {
  const body = Buffer.alloc(72);
  body[0] = family === 4 ? 2 : 10;
  body.set(addressBytes(peer), 24);
  body.writeUInt32LE(0xc00c1e, 44);
  return netlinkMessage({ type: BY_FAMILY, flags: 2, no: 1, body });
}

describe("addresses", () => {
  test.each([
    ["10.77.0.11", "0a4d000b"],
    ["::", "00".repeat(16)],
    ["fd77::11", `fd77${"00".repeat(13)}11`],
    ["2001:db8:1:2:3:4:5:6", "20010db8000100020003000400050006"],
    ["::ffff:1.2.3.4", `${"00".repeat(10)}ffff01020304`],
    ["64:ff9b::198.18.0.1", `0064ff9b${"00".repeat(8)}c6120001`],
  ])("%s is its bytes", (address, hex) => {
    expect(Buffer.from(addressBytes(address)).toString("hex")).toBe(hex);
  });

  test("have one spelling each", () => {
    expect(canonicalAddress("FD77:0:0::0011")).toBe("fd77::11");
    expect(canonicalAddress("10.0.0.1")).toBe("10.0.0.1");
  });

  test("in any spelling are the same bytes", () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const bytes = Buffer.from(addressBytes(address));
        expect(Buffer.from(addressBytes(canonicalAddress(address)))).toEqual(bytes);
        expect(bytes.length).toBe(16);
      }),
    );
  });

  test.each(["fe80::1%eth0", "10.0.0", "x", ""])("%j is none", (text) => {
    expect(() => addressBytes(text)).toThrow(RangeError);
  });
});

describe("a change of a killed set", () => {
  test("is one batch of one message, byte for byte", () => {
    const hex = Buffer.from(killedSetBatch("add", ["10.77.0.11"])).toString("hex");
    expect(hex).toBe(
      [
        "14000000100001000100000000000000" + "0000000a",
        "40000000" + "0c0a" + "0504" + "0200000000000000" + "01000000",
        "0c000100" + "616c747261636500",
        "0c000200" + "6b696c6c65643400",
        "14000380" + "10000180" + "0c000180" + "08000100" + "0a4d000b",
        "14000000110001000300000000000000" + "0000000a",
      ].join(""),
    );
  });

  test("is one batch for both families, of which the last message alone is answered", () => {
    const messages = netlinkMessages(killedSetBatch("delete", ["fd77::11", "10.77.0.11"]));
    expect(messages.map(({ type }) => type)).toEqual([0x10, 0x0a0e, 0x0a0e, 0x11]);
    const hex = Buffer.from(killedSetBatch("delete", ["fd77::11", "10.77.0.11"])).toString("hex");
    expect(hex).toContain(`0e0a0100${"02000000"}`);
    expect(hex).toContain(`0e0a0500${"03000000"}`);
  });

  test("of the most addresses that a batch takes is still one message", () => {
    const many = Array.from({ length: BATCH_ADDRESSES_MAX }, (_, i) => `fd77::${i.toString(16)}`);
    expect(netlinkMessages(killedSetBatch("add", many)).length).toBe(3);
  });

  test("is judged by the first thing that went wrong", () => {
    expect(batchResult(Buffer.alloc(0))).toBeUndefined();
    expect(batchResult(ack(0))).toBe(0);
    expect(batchResult(Buffer.concat([ack(2), ack(0)]))).toBe(2);
  });
});

describe("a sweep", () => {
  const list = Buffer.concat([
    socketOf("10.77.0.11", 4),
    socketOf("10.77.0.12", 4),
    netlinkMessage({ type: 3, flags: 0, no: 1, body: Buffer.alloc(4) }),
  ]);

  test("asks for sockets that have a peer, never for listeners", () => {
    const states = Buffer.from(socketsRequest(4)).readUInt32LE(20);
    expect(states & (1 << 10)).toBe(0);
    expect(states & (1 << 1)).not.toBe(0);
  });

  test("ends the killed agent's and no other, each by its cookie", () => {
    const requests = destroyRequests(list, ["10.77.0.11"], 4);
    if (typeof requests === "number") throw new Error(`errno ${requests}`);
    expect(requests.length).toBe(1);
    const request = Buffer.from(requests[0] as Uint8Array);
    expect(request.readUInt16LE(4)).toBe(21);
    expect(request.subarray(16 + 28, 16 + 32).toString("hex")).toBe("0a4d000b");
    expect(request.readUInt32LE(16 + 48)).toBe(0xc00c1e);
  });

  test("leaves alone what is in TIME_WAIT, which older kernels do not end, whatever its state is called", () => {
    const waiting = socketOf("10.77.0.11", 4);
    // Its timer, behind the header of a message, its family and its state.
    waiting[16 + 2] = 3;
    expect(destroyRequests(Buffer.concat([waiting, list]), ["10.77.0.11"], 4)).toHaveLength(1);
  });

  test("says when the kernel did not list them, instead of ending none", () => {
    expect(destroyRequests(ack(1), ["10.77.0.11"], 4)).toBe(1);
  });

  test("reads any bytes without falling over", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        netlinkMessages(bytes);
        destroyRequests(bytes, ["10.77.0.11"], 4);
        batchResult(bytes);
      }),
    );
  });
});
