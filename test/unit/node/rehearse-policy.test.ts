import { describe, expect, test } from "vitest";
import { DETECTORS } from "../../../node/dataplane/scan/detectors.ts";
import { rehearsalBundle } from "../../../node/rehearsal-bundle.ts";
import { rehearsedAs, rehearsePolicy } from "../../../node/rehearse-policy.ts";
import type { Compute } from "../../../ports/compute.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

type Pool = NonNullable<Parameters<typeof rehearsePolicy>[1]>["pool"];
type Task = Parameters<Pool["run"]>[0];

describe("the rehearsal of a policy", () => {
  test("has a bundle with a rule for each detector that there is", async () => {
    const { policy } = (await rehearsePolicy(rehearsalBundle())) ?? {};
    expect(policy?.content.length).toBeGreaterThanOrEqual(DETECTORS.length);
  });

  test("tries the rules in the loop's pool too", async () => {
    const tasks: Task[] = [];
    const pool: Compute<Task, never> = {
      run: async (task) => {
        tasks.push(task);
        throw new Error("nobody looks at the answer");
      },
      close: async () => undefined,
    };
    const rehearsed = await rehearsePolicy(rehearsalBundle(), { pool, clock: twinClock() });
    const { policy } = rehearsed ?? {};
    expect(tasks.map(({ rules }) => JSON.parse(rules).length)).toEqual([policy?.content.length]);
  });

  test("leaves alone what is no bundle", async () => {
    expect(await rehearsePolicy(Buffer.from("{}"))).toBeUndefined();
  });

  test("is of the very same bytes, or nothing of it is used", async () => {
    const bundle = rehearsalBundle();
    const rehearsed = await rehearsePolicy(bundle);
    const same = rehearsedAs(rehearsed, { version: 7, bundle: Buffer.from(bundle) });
    expect(same).toEqual({ ...rehearsed?.policy, version: 7 });
    // What a thread's scanners were compiled for is the same object.
    expect(same?.content).toBe(rehearsed?.policy.content);
    const other = Buffer.concat([bundle, Buffer.from(" ")]);
    expect(rehearsedAs(rehearsed, { version: 7, bundle: other })).toBeUndefined();
    expect(rehearsedAs(undefined, { version: 7, bundle })).toBeUndefined();
  });
});
