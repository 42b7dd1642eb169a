import { describe, expect, test } from "vitest";
import { DETECTORS } from "../../../node/dataplane/scan/detectors.ts";
import { rehearsalBundle } from "../../../node/rehearsal-bundle.ts";
import { rehearsePolicy } from "../../../node/rehearse-policy.ts";
import type { Compute } from "../../../ports/compute.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

type Pool = NonNullable<Parameters<typeof rehearsePolicy>[1]>["pool"];
type Task = Parameters<Pool["run"]>[0];

describe("the rehearsal of a policy", () => {
  test("has a bundle with a rule for each detector that there is", async () => {
    const policy = await rehearsePolicy(rehearsalBundle());
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
    const policy = await rehearsePolicy(rehearsalBundle(), { pool, clock: twinClock() });
    expect(tasks.map(({ rules }) => JSON.parse(rules).length)).toEqual([policy?.content.length]);
  });

  test("leaves alone what is no bundle", async () => {
    expect(await rehearsePolicy(Buffer.from("{}"))).toBeUndefined();
  });
});
