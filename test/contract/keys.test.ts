import { spawn } from "node:child_process";
import { createHash, createPublicKey, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fileKeys } from "../../adapters/file-keys.ts";
import { KeyFileFault } from "../../adapters/private-file.ts";
import type { Keys } from "../../ports/keys.ts";
import { twinKeys } from "../../ports/twin-keys.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { tempDir } from "../support/temp-dir.ts";
import { ODD_SIGNATURES } from "./odd-signatures.ts";

type Holder = Disposable & { readonly keys: Keys };

const HOLDERS: { readonly [name: string]: () => Holder } = {
  files: () => {
    const dir = tempDir();
    return {
      keys: fileKeys(join(dir.path, "keys")),
      [Symbol.dispose]: () => dir[Symbol.dispose](),
    };
  },
  twin: () => ({ keys: twinKeys(twinRandom(7)), [Symbol.dispose]: () => undefined }),
};

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

describe.each(Object.entries(HOLDERS))("keys of %s", (_name, open) => {
  test("a key is made once and is the same from then on", () => {
    using holder = open();
    expect(holder.keys.load("node")).toBeUndefined();
    const made = holder.keys.loadOrCreate("node");
    expect(holder.keys.loadOrCreate("node").kid).toBe(made.kid);
    expect(holder.keys.load("node")?.publicKey).toEqual(made.publicKey);
    expect(holder.keys.loadOrCreate("operator").kid).not.toBe(made.kid);
    expect(holder.keys.load("other")).toBeUndefined();
  });

  test("the kid is the start of the SHA-256 of the raw public key", () => {
    using holder = open();
    const { kid, publicKey } = holder.keys.loadOrCreate("node");
    expect(publicKey).toHaveLength(32);
    expect(kid).toBe(createHash("sha256").update(publicKey).digest("hex").slice(0, 16));
  });

  test("a signature holds for these bytes and this key alone", () => {
    using holder = open();
    const { keys } = holder;
    const [signer, other] = [keys.loadOrCreate("a"), keys.loadOrCreate("b")];
    const message = bytes("pay 100");
    const signature = signer.sign(message);
    expect(signature).toHaveLength(64);
    expect(keys.verify(signer.publicKey, message, signature)).toBe(true);
    expect(keys.verify(signer.publicKey, bytes("pay 900"), signature)).toBe(false);
    expect(keys.verify(other.publicKey, message, signature)).toBe(false);
    for (const at of [0, 31, 32, 63]) {
      const bent = new Uint8Array(signature);
      bent[at] = (bent[at] as number) ^ 1;
      expect(keys.verify(signer.publicKey, message, bent), `byte ${at}`).toBe(false);
    }
  });

  test("malformed keys and signatures do not verify and do not throw", () => {
    using holder = open();
    const { keys } = holder;
    const signer = keys.loadOrCreate("a");
    const message = bytes("x");
    const signature = signer.sign(message);
    for (const length of [0, 31, 33, 64]) {
      expect(keys.verify(new Uint8Array(length), message, signature)).toBe(false);
    }
    for (const length of [0, 63, 65]) {
      expect(keys.verify(signer.publicKey, message, new Uint8Array(length))).toBe(false);
    }
    expect(keys.verify(new Uint8Array(32).fill(255), message, signature)).toBe(false);
    expect(keys.verify(signer.publicKey, message, new Uint8Array(64).fill(255))).toBe(false);
  });

  test.each(ODD_SIGNATURES.map((of) => [of.what, of] as const))(
    "all keys say the same of %s",
    (_what, { key, signature, isGood }) => {
      using holder = open();
      const of = [key, bytes("pay 100").toHex(), signature].map((hex) => Uint8Array.fromHex(hex));
      expect(holder.keys.verify(...(of as [Uint8Array, Uint8Array, Uint8Array]))).toBe(isGood);
    },
  );

  test("bytes may lie anywhere, in memory that threads share as well", () => {
    using holder = open();
    const { keys } = holder;
    const signer = keys.loadOrCreate("a");
    for (const Memory of [ArrayBuffer, SharedArrayBuffer]) {
      const within = (of: Uint8Array): Uint8Array => {
        const place = new Uint8Array(new Memory(of.length + 9), 5, of.length);
        place.set(of);
        return place;
      };
      const message = within(bytes("pay 100"));
      const signature = within(signer.sign(message));
      expect(Buffer.from(signature)).toEqual(Buffer.from(signer.sign(bytes("pay 100"))));
      expect(keys.verify(within(signer.publicKey), message, signature)).toBe(true);
      message[0] = 0;
      expect(keys.verify(within(signer.publicKey), message, signature)).toBe(false);
    }
    expect(keys.verify(signer.publicKey, bytes(""), signer.sign(bytes("")))).toBe(true);
  });

  test("a key or signature that is cut short does not count, though the rest lies behind it", () => {
    using holder = open();
    const { publicKey, sign } = holder.keys.loadOrCreate("a");
    const message = bytes("pay 100");
    const signature = sign(message);
    const { verify } = holder.keys;
    expect(verify(publicKey, message, signature)).toBe(true);
    expect(verify(publicKey.subarray(0, 31), message, signature)).toBe(false);
    expect(verify(publicKey, message, signature.subarray(0, 63))).toBe(false);
  });

  test("either sort of keys verifies what the other signed", () => {
    using holder = open();
    const other = twinKeys(twinRandom(99));
    const signer = holder.keys.loadOrCreate("a");
    const theirs = other.loadOrCreate("a");
    expect(other.verify(signer.publicKey, bytes("x"), signer.sign(bytes("x")))).toBe(true);
    expect(holder.keys.verify(theirs.publicKey, bytes("x"), theirs.sign(bytes("x")))).toBe(true);
  });
});

describe("key files alone", () => {
  test("another process finds the key in PKCS#8 PEM that only its owner can read", () => {
    using dir = tempDir();
    const path = join(dir.path, "keys");
    const made = fileKeys(path).loadOrCreate("node");
    expect(fileKeys(path).load("node")?.kid).toBe(made.kid);
    expect(readFileSync(join(path, "node.key"), "utf8")).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(statSync(join(path, "node.key")).mode & 0o777).toBe(0o600);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(readdirSync(path)).toEqual(["node.key"]);
  });

  test("the key of a file is the one that others read there", () => {
    using dir = tempDir();
    const made = fileKeys(dir.path).loadOrCreate("node");
    const key = createPublicKey(readFileSync(join(dir.path, "node.key"), "utf8"));
    const spki = key.export({ type: "spki", format: "der" });
    expect(Buffer.from(made.publicKey).toString("hex")).toBe(spki.subarray(-32).toString("hex"));
  });

  test("processes that make the same key at once end up with one", async () => {
    using dir = tempDir();
    const path = join(dir.path, "keys");
    const adapter = join(import.meta.dirname, "../../adapters/file-keys.ts");
    const program = `import { fileKeys } from ${JSON.stringify(adapter)};
      console.log(fileKeys(${JSON.stringify(path)}).loadOrCreate("node").kid);`;
    const run = async (): Promise<string> => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program]);
      let out = "";
      child.stdout.on("data", (data: Buffer) => {
        out += data.toString();
      });
      await once(child, "close");
      return out.trim();
    };
    const kids = await Promise.all([run(), run(), run(), run()]);
    const kid = fileKeys(path).load("node")?.kid;
    expect(kids).toEqual([kid, kid, kid, kid]);
    expect(readdirSync(path)).toEqual(["node.key"]);
  });

  test("a key that others may read is not used", () => {
    using dir = tempDir();
    fileKeys(dir.path).loadOrCreate("node");
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(join(dir.path, "node.key"), mode);
      expect(() => fileKeys(dir.path).load("node"), mode.toString(8)).toThrow(KeyFileFault);
      expect(() => fileKeys(dir.path).loadOrCreate("node")).toThrow(KeyFileFault);
    }
    chmodSync(join(dir.path, "node.key"), 0o600);
    expect(fileKeys(dir.path).load("node")).toBeDefined();
  });

  test("a file that is no Ed25519 key is a fault and is not written over", () => {
    using dir = tempDir();
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    const contents = ["", "garbage", rsa.export({ type: "pkcs8", format: "pem" }) as string];
    for (const content of contents) {
      writeFileSync(join(dir.path, "node.key"), content, { mode: 0o600 });
      expect(() => fileKeys(dir.path).loadOrCreate("node")).toThrow(KeyFileFault);
      expect(readFileSync(join(dir.path, "node.key"), "utf8")).toBe(content);
    }
  });

  test("a name cannot leave the folder", () => {
    using dir = tempDir();
    for (const name of ["", "../node", "a/b", ".hidden", "a.b", "A", "a\0"]) {
      expect(() => fileKeys(dir.path).load(name), JSON.stringify(name)).toThrow(KeyFileFault);
      expect(() => fileKeys(dir.path).loadOrCreate(name)).toThrow(KeyFileFault);
    }
  });
});

describe("the twin alone", () => {
  test("the same seed gives the same keys, another seed others", () => {
    const kid = (seed: number) => twinKeys(twinRandom(seed)).loadOrCreate("a").kid;
    expect(kid(1)).toBe(kid(1));
    expect(kid(1)).not.toBe(kid(2));
  });

  test("a removed key is gone", () => {
    const keys = twinKeys(twinRandom(1));
    keys.loadOrCreate("a");
    keys.remove("a");
    expect(keys.load("a")).toBeUndefined();
  });
});
