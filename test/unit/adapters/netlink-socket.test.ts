import { expect, test } from "vitest";
import { netlinkSocket } from "../../../adapters/netlink-socket.ts";

/** A kernel that answers each request with these pieces, and has nothing else to read. */
function kernelOf(pieces: readonly string[]) {
  const unread: string[] = [];
  return {
    write: (_fd: number, bytes: Uint8Array) => {
      unread.push(...pieces);
      return bytes.length;
    },
    read: (_fd: number, into: Uint8Array) => {
      const piece = unread.shift();
      if (piece === undefined) throw Object.assign(new Error("nothing"), { code: "EAGAIN" });
      return Buffer.from(into.buffer, into.byteOffset).write(piece);
    },
  };
}

test("each piece of an answer is looked at once, and together they are the answer", () => {
  const socket = netlinkSocket(0, kernelOf(["one", "two", "three", "of another request"]));
  const seen: string[] = [];
  const isLast = (piece: Uint8Array) => {
    seen.push(Buffer.from(piece).toString());
    return seen.at(-1) === "three";
  };
  const ask = () => Buffer.from(socket.request(Buffer.from("?"), isLast)).toString();
  expect(ask()).toBe("onetwothree");
  expect(seen).toEqual(["one", "two", "three"]);
  // What was left is nobody's answer.
  expect(ask()).toBe("onetwothree");
});

test("an answer that breaks off is a fault", () => {
  const socket = netlinkSocket(0, kernelOf(["one"]));
  expect(() => socket.request(Buffer.from("?"), () => false)).toThrow("nothing");
});
