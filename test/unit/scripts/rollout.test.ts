import { expect, test } from "vitest";
import { lackOfUpdated } from "../../../scripts/cluster/rollout.ts";

const rolled = (status: Readonly<Record<string, number>>) =>
  lackOfUpdated({
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "further", generation: 2 },
    spec: { replicas: 2 },
    status: { observedGeneration: 2, ...status },
  });

test("a set is all new once as many as it is to have are, and not while one is gone", () => {
  expect(rolled({ replicas: 2, updatedReplicas: 2, availableReplicas: 2 })).toBeUndefined();
  expect(rolled({ replicas: 1, updatedReplicas: 1, availableReplicas: 1 })).toBeDefined();
  expect(rolled({ replicas: 2, updatedReplicas: 2, availableReplicas: 1 })).toBeDefined();
  const before = { replicas: 2, updatedReplicas: 2, availableReplicas: 2, observedGeneration: 1 };
  expect(rolled(before)).toBeDefined();
});
