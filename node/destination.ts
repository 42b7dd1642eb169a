import type { AgentPolicy, CompiledPolicy, ProviderPolicy } from "../policy/compiled-policy.ts";
import { destinationGranted } from "../policy/hosts.ts";
import { SHADOW_STAGES } from "../policy/policy-document.ts";
import type {
  Destination,
  DestinationMode,
  DialAddress,
  Facts,
  Missing,
} from "./decision/facts.ts";
import type { LoopContext } from "./loop-context.ts";

/** Where somebody wants to go, as far as he said it, and what was found out about it since. */
export type WantedDestination = {
  readonly scheme: "http" | "https";
  /** Lower case. */
  readonly host: string;
  readonly port: number;
  /** `connection`: to carry whatever is said on it. `request`: one request that was read. */
  readonly as: "connection" | "request";
  /** Where a captured connection was going, `address:port`. */
  readonly original: string | undefined;
  addresses: readonly DialAddress[] | Missing | undefined;
};

/** What a name resolved to counts for this long at most: the time that a decision takes. */
export type DestinationLoop = Pick<LoopContext, "resolver" | "addressRules" | "inspection">;

/** The destination under the policy in force now. */
export function destinationNow(
  wanted: WantedDestination,
  of: {
    readonly policy: CompiledPolicy | undefined;
    readonly loop: DestinationLoop;
    readonly pass: Facts["pass"];
  },
): Destination {
  const { host, port, addresses, original } = wanted;
  return {
    host,
    port,
    mode: modeOf(wanted, of.policy, of.loop),
    addresses,
    ...(original !== undefined && { original }),
  };
}

/** The provider whose requests go to exactly this scheme, host and port. */
export function providerAt(
  wanted: Pick<WantedDestination, "scheme" | "host" | "port">,
  policy: CompiledPolicy | undefined,
): ProviderPolicy | undefined {
  const { scheme, host, port } = wanted;
  const isDefault = port === (scheme === "https" ? 443 : 80);
  const origin = `${scheme}://${host}${isDefault ? "" : `:${port}`}`;
  for (const provider of policy?.providers.values() ?? []) {
    if (provider.origin === origin) return provider;
  }
  return undefined;
}

function modeOf(
  wanted: WantedDestination,
  policy: CompiledPolicy | undefined,
  { inspection }: DestinationLoop,
): DestinationMode {
  const isProviders = [...(policy?.providers.values() ?? [])].some(
    ({ host }) => host === wanted.host,
  );
  if (!isProviders) return "tunnel";
  if (providerAt(wanted, policy) === undefined) return "refuse";
  if (wanted.as === "request") return "inspected";
  return inspection.canInspect(wanted.host) ? "inspect" : "refuse";
}

/**
 * Resolves the name of a tunnel that is granted, once; what comes of it is all that may be dialled.
 *
 * A name that is not granted is not looked up: asking for it would already tell somebody something.
 */
export async function resolveDestination(
  wanted: WantedDestination,
  facts: Pick<Facts, "grant" | "policy" | "destination">,
  { resolver, addressRules }: DestinationLoop,
): Promise<void> {
  if (facts.destination?.mode !== "tunnel" || !mayResolve(wanted, facts)) return;
  const { host } = wanted;
  let found: readonly DialAddress[];
  try {
    found = await resolver.resolve(host);
  } catch {
    wanted.addresses = { missing: "name_unresolved", detail: host };
    return;
  }
  // One address that may not be reached makes the whole answer one that is not to be trusted.
  const isPermitted = found.every(({ address }) => addressRules.permits(address));
  wanted.addresses = isPermitted ? found : { missing: "address_refused", detail: host };
}

function mayResolve(
  { host, port }: WantedDestination,
  { grant, policy }: { readonly grant: AgentPolicy | undefined; readonly policy: Facts["policy"] },
): boolean {
  if (destinationGranted(grant?.hosts ?? [], host, port)) return true;
  return policy?.shadowStages.has(SHADOW_STAGES.destination) === true;
}
