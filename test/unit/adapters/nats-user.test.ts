import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { natsUser, storedNatsUser } from "../../../adapters/nats-user.ts";
import { tempDir } from "../../support/temp-dir.ts";

test("a user that is only looked for is not made, and is the one that was made", () => {
  using folder = tempDir();
  const dir = folder.path;
  expect(storedNatsUser(dir)).toBeUndefined();
  expect(existsSync(join(dir, "nats.seed"))).toBe(false);
  const made = natsUser(dir);
  expect(storedNatsUser(dir)).toEqual(made);
  expect(natsUser(dir)).toEqual(made);
});
