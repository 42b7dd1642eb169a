import { crc32, deflateRawSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { readZip, ZipError } from "../../../scripts/read-zip.ts";

type Made = { readonly name: string; readonly text: string; readonly method?: number };

/** An archive of these files, as the format's own description has it. */
function zip(files: readonly Made[]): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, text, method = 8 } of files) {
    const plain = Buffer.from(text);
    const packed = method === 8 ? deflateRawSync(plain) : plain;
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(crc32(plain), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(plain.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, Buffer.from(name), packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(at, 10);
    directory.push(
      Buffer.concat([Buffer.from("PK\x01\x02\x14\x00"), common, rest, Buffer.from(name)]),
    );
    bodies.push(local);
    at += local.length;
  }
  const listed = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(listed.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...bodies, listed, end]);
}

describe("readZip", () => {
  test("gives back deflated, stored and empty files", () => {
    const files = [
      { name: "m@v1/a.go", text: "package a\n".repeat(100) },
      { name: "m@v1/b/c.txt", text: "stored", method: 0 },
      { name: "m@v1/empty", text: "" },
    ];
    const read = readZip(zip(files)).map((entry) => [entry.name, entry.read().toString("utf8")]);
    expect(read).toEqual(files.map(({ name, text }) => [name, text]));
  });

  test.each(["/etc/passwd", "a/../../b", "..", "a\\b", "C:evil", ""])(
    "refuses the name %j",
    (name) => {
      expect(() => readZip(zip([{ name, text: "x" }]))).toThrow(ZipError);
    },
  );

  test("refuses what is no archive, what is cut, and what unpacks to more than it claims", () => {
    expect(() => readZip(Buffer.from("no archive at all, but long enough"))).toThrow(ZipError);
    const whole = zip([{ name: "a", text: "a".repeat(1_000) }]);
    expect(() => readZip(whole.subarray(0, whole.length - 30))).toThrow(ZipError);
    const lying = zip([{ name: "a", text: "a".repeat(1_000) }]);
    // The directory's own word for the size, 24 bytes into its first entry.
    lying.writeUInt32LE(10, lying.indexOf("PK\x01\x02") + 24);
    expect(() => readZip(lying)[0]?.read()).toThrow();
  });
});
