import { createHook } from "node:async_hooks";
import { expect, test } from "vitest";
import { ASIDE_MAX, ed25519Aside } from "../../../adapters/ed25519-aside.ts";
import { twinSigner } from "../../../ports/twin-keys.ts";

const SIGNER = twinSigner(new Uint8Array(32).fill(3));
const MESSAGE = new Uint8Array([7]);
const SIGNATURE = SIGNER.sign(MESSAGE);

test("a crowd of signatures takes a few of libuv's threads, and who finds none free is told", async () => {
  const verify = ed25519Aside(2);
  const ask = () => verify(SIGNER.publicKey, MESSAGE, SIGNATURE);
  let begun = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === "SIGNREQUEST") begun += 1;
    },
  }).enable();
  try {
    for (const _time of ["first", "when all have ended"]) {
      begun = 0;
      const answers = Array.from({ length: 30 }, ask);
      expect(begun).toBe(ASIDE_MAX);
      expect(answers.filter((answer) => answer !== undefined)).toHaveLength(ASIDE_MAX);
      expect(await Promise.all(answers)).toEqual([
        ...Array(ASIDE_MAX).fill(true),
        ...Array(30 - ASIDE_MAX).fill(undefined),
      ]);
    }
  } finally {
    hook.disable();
  }
});

test("one processor has nobody to spare", () => {
  expect(ed25519Aside(1)(SIGNER.publicKey, MESSAGE, SIGNATURE)).toBeUndefined();
});
