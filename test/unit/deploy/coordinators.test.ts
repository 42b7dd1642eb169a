import { expect, test } from "vitest";
import { builtOverlay, kustomizeCommand, type Manifest } from "../../support/kustomize.ts";

type Named = { readonly name: string };
type Coordinators = Manifest & {
  readonly spec: {
    readonly replicas: number;
    readonly updateStrategy?: { readonly type: string };
    readonly template: { readonly spec: { readonly containers: readonly Container[] } };
  };
};
type Container = { readonly env: readonly Named[]; readonly volumeMounts: readonly Named[] };

const command = kustomizeCommand();

test.skipIf(command === undefined)(
  "three coordinators run in production, which differ in how they come to the mesh alone",
  () => {
    const sets = builtOverlay(command as readonly string[], "full").filter(
      ({ kind, metadata }) =>
        kind === "StatefulSet" && metadata.name.startsWith("altrace-coordinator"),
    ) as Coordinators[];
    expect(sets.map(({ spec }) => spec.replicas)).toEqual([1, 2]);
    // Two sets know nothing of each other: of both, one alone is replaced by itself.
    expect(sets.map(({ spec }) => spec.updateStrategy?.type)).toEqual([
      "OnDelete",
      "RollingUpdate",
    ]);
    const own = ["ALTRACE_MESH", "ALTRACE_REPLICA_ID", "ALTRACE_TRUST", "trust"];
    const isShared = ({ name }: Named) => !own.includes(name);
    const [first, further] = sets.map(({ spec }) => {
      const { env, volumeMounts, ...container } = spec.template.spec.containers[0] as Container;
      const shared = { env: env.filter(isShared), volumeMounts: volumeMounts.filter(isShared) };
      return { ...container, ...shared };
    });
    expect(further).toEqual(first);
    expect(sets.map(({ spec }) => JSON.stringify(spec).includes("ALTRACE_TRUST"))).toEqual([
      false,
      true,
    ]);
  },
);
