import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { nkeys } from "@nats-io/transport-node";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { holdInstance } from "../../../adapters/instance-lock.ts";
import { readIdentity } from "../../../coordinator/found-mesh.ts";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";

const NODE = nkeys.createUser().getPublicKey();
const OTHER = nkeys.createUser().getPublicKey();

let dir: ReturnType<typeof tempDir>;
beforeEach(() => {
  dir = tempDir();
});
afterEach(() => dir[Symbol.dispose]());

const at = (...names: string[]) => join(dir.path, ...names);
const init = (home: string, ...words: string[]) => runHere("--home", at(home), "init", ...words);
const said = async (home: string, ...words: string[]) => {
  const { code, stdout, stderr } = await init(home, "--json", ...words);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
};

/** Every file below HOME, with what is in it. */
function all(home: string): Readonly<Record<string, string>> {
  const files = readdirSync(at(home), { recursive: true, withFileTypes: true });
  const paths = files.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  return Object.fromEntries(paths.map((path) => [path, readFileSync(path, "latin1")]));
}

describe("altrace init", () => {
  test("makes keys, the root and permissions, which nobody else may read where they are secret", async () => {
    const made = await said("c", "--mesh", "bank", `node/n1=${NODE}`);
    expect(made).toMatchObject({ mesh: "bank", isNew: true, replica: "c1" });
    expect(readdirSync(at("c", "keys")).sort()).toEqual([
      ...["coordinator.key", "enrolment.key", "nats.seed", "operations.key", "witness.key"],
    ]);
    for (const path of [made.files.operatorKey, at("c", "keys", "coordinator.key")]) {
      expect(statSync(path).mode & 0o777).toBe(0o600);
    }
    const permissions = readFileSync(made.files.natsPermissions, "utf8");
    expect(permissions).toContain(made.natsUser);
    expect(permissions).toContain(NODE);
    expect(readIdentity(readFileSync(made.files.identity, "utf8"))).toMatchObject({
      replica: "c1",
    });
    expect(readFileSync(made.files.inspectionRoot, "utf8")).toContain("BEGIN CERTIFICATE");
  });

  test("leaves what is there; permissions alone are written anew, for other members", async () => {
    await said("c", "--mesh", "bank", `node/n1=${NODE}`);
    const before = all("c");
    const { stdout } = await init("c");
    expect(stdout).toContain("mesh bank was there; this is c1 of it");
    expect(all("c")).toEqual(before);
    await said("c", `node/n2=${OTHER}`);
    const path = at("c", "nats-permissions.conf");
    const { [path]: now = "", ...rest } = all("c");
    expect(now).toContain(OTHER);
    expect(now).not.toContain(NODE);
    expect({ ...rest, [path]: before[path] }).toEqual(before);
  });

  test("makes a further coordinator of a mesh, without the operator's key", async () => {
    await said("c", "--mesh", "bank");
    const joined = await said("c2", "--trust", at("c", "trust.json"), "--replica-id", "c2");
    expect(joined).toMatchObject({ mesh: "bank", replica: "c2" });
    expect(joined.files.operatorKey).toBeUndefined();
    expect(readdirSync(at("c2"))).not.toContain("operator.key");
    const trust = (home: string) => readFileSync(at(home, "trust.json"), "utf8");
    expect(trust("c2")).toBe(trust("c"));
  });

  test.each([
    [["--mesh", "Bank!"], "--mesh Bank!: expected a name"],
    [["--replica-id", "c_1"], "--replica-id c_1: expected a name"],
    [["node/n1=UX"], "node/n1=UX: expected coordinator/NAME=U... or node/ID=U..."],
    [[`coordinator/c1=${NODE}`], "coordinator c1 is given twice"],
    [[`node/n1=${NODE}`, `node/n2=${NODE}`], `${NODE} is given twice`],
  ])("is told that %j is none, and makes nothing", async (words, why) => {
    const { code, stderr } = await init("c", ...words);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(why) });
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test("refuses a HOME of another mesh, one without its trust.json, and one in use", async () => {
    await said("c", "--mesh", "bank");
    expect(await init("c", "--mesh", "shop")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is of mesh bank, not shop"),
    });
    const lock = await holdInstance({ home: at("c"), socketPaths: [], ports: [] });
    const before = all("c");
    expect(await init("c", `node/n1=${NODE}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("home_in_use"),
    });
    await lock.release();
    expect(all("c")).toEqual(before);
    await said("d", "--mesh", "shop");
    expect(await init("c", "--trust", at("d", "trust.json"))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is not of the mesh of"),
    });
    rmSync(at("c", "trust.json"));
    expect(await init("c")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("no trust.json: put it back"),
    });
  });
});
