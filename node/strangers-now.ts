import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { PlacedPod, Placement } from "./placement-file.ts";
import type { StrangerSighting } from "./stranger-sightings.ts";

/**
 * Who is a stranger as things stand: those that have tried, less those that were registered since; and
 * the pods of this machine that nobody has registered and that have tried nothing yet.
 */
export function strangersNow(of: {
  readonly seen: readonly StrangerSighting[];
  readonly placement: Pick<Placement, "agentAt" | "podAt" | "unregistered">;
  readonly policy: CompiledPolicy | undefined;
}): readonly StrangerSighting[] {
  const { seen, placement, policy } = of;
  const still = seen.filter((one) => {
    const agentId = placement.agentAt(one.source);
    const isSame = one.pod === placement.podAt(one.source);
    // Registered in words alone, without a key, it is refused as before.
    return !(
      isSame &&
      agentId !== undefined &&
      agentId !== one.claimed &&
      isNamed(agentId, policy)
    );
  });
  const pods = new Set(still.flatMap(({ pod }) => pod ?? []));
  const silent = placement.unregistered().filter(({ pod }) => !pods.has(pod));
  return [...still, ...silent.map(silentPod)];
}

function isNamed(agentId: string, policy: CompiledPolicy | undefined): boolean {
  return policy?.agents.has(agentId) === true;
}

function silentPod({ pod, addresses }: PlacedPod): StrangerSighting {
  const none = { doors: [], hosts: [], models: [], reasons: [] };
  const [source = ""] = addresses;
  return { source, pod, claimed: undefined, firstMs: 0, lastMs: 0, tries: 0, ...none };
}
