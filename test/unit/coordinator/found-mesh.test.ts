import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fileKeys } from "../../../adapters/file-keys.ts";
import { readTrustFile, TrustFileFault } from "../../../adapters/trust-file.ts";
import { foundMesh, HomeFault } from "../../../coordinator/found-mesh.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { tempDir } from "../../support/temp-dir.ts";

const found = (home: string, mesh?: string) =>
  foundMesh({ home, mesh, operatorKeys: fileKeys(home), random: twinRandom(1) });

describe("HOME", () => {
  test("is founded once: a name, an operator's key, and the file that nodes pin", () => {
    using dir = tempDir();
    const home = join(dir.path, "home");
    const first = found(home);
    expect(first.pin.mesh).toMatch(/^mesh-[0-9a-f]{12}$/);
    expect(first.operator?.publicKey).toEqual(new Uint8Array(first.pin.operatorPublicKey));
    expect(statSync(home).mode & 0o777).toBe(0o700);
    expect(statSync(join(home, "operator.key")).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, "trust.json")).mode & 0o777).toBe(0o600);
    const again = found(home);
    expect(again.pin).toEqual(first.pin);
    expect(again.operator?.kid).toBe(first.operator?.kid);
    expect(readTrustFile(join(home, "trust.json"))).toEqual(first.pin);
  });

  test("takes the name that it is given, and refuses another one later", () => {
    using dir = tempDir();
    expect(found(dir.path, "bank-prod").pin.mesh).toBe("bank-prod");
    expect(found(dir.path, "bank-prod").pin.mesh).toBe("bank-prod");
    expect(() => found(dir.path, "bank-test")).toThrow("is of mesh bank-prod");
  });

  test("goes on without the operator's key", () => {
    using dir = tempDir();
    const { pin } = found(dir.path);
    rmSync(join(dir.path, "operator.key"));
    expect(found(dir.path)).toEqual({ pin, operator: undefined });
    expect(existsSync(join(dir.path, "operator.key"))).toBe(false);
  });

  test("that has state but lost its trust.json is not founded anew", () => {
    using dir = tempDir();
    found(dir.path);
    mkdirSync(join(dir.path, "coordinator"));
    rmSync(join(dir.path, "trust.json"));
    expect(() => found(dir.path)).toThrow(HomeFault);
    expect(existsSync(join(dir.path, "trust.json"))).toBe(false);
  });

  test("with another operator's key than the pinned one is refused", () => {
    using dir = tempDir();
    using other = tempDir();
    found(dir.path);
    found(other.path);
    const stranger = readFileSync(join(other.path, "operator.key"));
    writeFileSync(join(dir.path, "operator.key"), stranger);
    expect(() => found(dir.path)).toThrow("not the one that trust.json pins");
  });

  test.each([
    ["nothing", ""],
    ["no object", "[]"],
    ["no name", '{"mesh":"A B","operator_public_key":"00"}'],
    ["no key", '{"mesh":"a","operator_public_key":"00"}'],
  ])("a trust.json with %s is refused", (_what, text) => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "trust.json"), text);
    expect(() => readTrustFile(join(dir.path, "trust.json"))).toThrow(TrustFileFault);
  });
});
