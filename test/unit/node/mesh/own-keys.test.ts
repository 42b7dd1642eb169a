import { expect, test } from "vitest";
import { nodeKeyName, OwnKeys } from "../../../../node/mesh/own-keys.ts";
import { twinKeys } from "../../../../ports/twin-keys.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";

const TEXT = Buffer.from("anything");

function world() {
  const keys = twinKeys(twinRandom(7));
  const own = new OwnKeys(keys);
  return {
    keys,
    own,
    isBy: (publicKey: Uint8Array) => keys.verify(publicKey, TEXT, own.sign(TEXT)),
  };
}

test("a node signs with its first key until the mesh names another of its own", () => {
  const { keys, own, isBy } = world();
  const first = own.publicKey;
  own.use(undefined);
  expect(isBy(first)).toBe(true);
  // Made beside the node that runs, as `altrace trust key node --next` does.
  const next = keys.loadOrCreate(nodeKeyName(2));
  expect(own.of(next.publicKey)).toBeUndefined();
  own.use(next.publicKey);
  expect(own).toMatchObject({ kid: next.kid, publicKey: next.publicKey });
  expect(isBy(next.publicKey)).toBe(true);
  expect(own.of(first)?.publicKey).toEqual(first);
});

test("a key that is named and is somebody else's is not taken, and changes nothing", () => {
  const { own, isBy } = world();
  const first = own.publicKey;
  own.use(twinKeys(twinRandom(8)).loadOrCreate("node").publicKey);
  expect(isBy(first)).toBe(true);
});

test("after a restart it is the named key again, in whatever order they were made", () => {
  const { keys } = world();
  const [second, third] = [2, 3].map((no) => keys.loadOrCreate(nodeKeyName(no)));
  const again = new OwnKeys(keys);
  again.use(second?.publicKey);
  expect(again.kid).toBe(second?.kid);
  again.use(third?.publicKey);
  expect(again.kid).toBe(third?.kid);
});

test("keys that are all one, as a rehearsal's are, are one", () => {
  const only = twinKeys(twinRandom(9)).loadOrCreate("node");
  const own = new OwnKeys({ load: () => only, loadOrCreate: () => only, verify: () => true });
  expect(own.kid).toBe(only.kid);
});
