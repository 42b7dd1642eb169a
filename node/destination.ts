import type { AgentPolicy, CompiledPolicy, ProviderPolicy } from "../policy/compiled-policy.ts";
import { destinationGranted } from "../policy/hosts.ts";
import { SHADOW_STAGES } from "../policy/policy-document.ts";
import { DIALECTS, type FoundRoute, findRoute } from "./dataplane/dialects/registry.ts";
import type { Exchange, RequestHead } from "./dataplane/exchange.ts";
import {
  type Destination,
  type DestinationMode,
  type DialAddress,
  type Facts,
  isMissing,
  type Missing,
} from "./decision/facts.ts";
import type { LoopContext } from "./loop-context.ts";

/** Where somebody wants to go, as far as he said it, and what was found out about it since. */
export type WantedDestination = {
  readonly scheme: "http" | "https";
  /** Lower case. */
  readonly host: string;
  readonly port: number;
  /**
   * `connection`: to carry whatever is said on it. `request`: one request of a dialect, which was read.
   * `plain`: one request over HTTP without TLS, to be passed on unread.
   */
  readonly as: "connection" | "request" | "plain";
  /** Where a captured connection was going, `address:port`. */
  readonly original: string | undefined;
  /** What it resolved to. Absent: it was not asked for. */
  addresses?: readonly DialAddress[] | Missing;
};

/** Where a request wants to go whose TLS ended here, or which names its host itself. */
export function wantedBy({
  via,
  proxied,
}: Pick<Exchange, "via" | "proxied">): WantedDestination | undefined {
  if (via !== undefined) {
    const { host, port, original } = via;
    return { scheme: "https", host, port, as: "request", original };
  }
  if (proxied === undefined) return undefined;
  return { scheme: "http", ...proxied, as: "request", original: undefined };
}

/** Whether a host is of a provider, so that what goes there is read or refused. */
export function isProviders(host: string, policy: CompiledPolicy | undefined): boolean {
  return policy !== undefined && providersOf(policy, host).length > 0;
}

type Providers = CompiledPolicy["providers"];

/** Every captured request asks several times, and what a policy's providers are never changes. */
const BY_HOST = new WeakMap<Providers, ReadonlyMap<string, readonly ProviderPolicy[]>>();

function providersOf({ providers }: CompiledPolicy, host: string): readonly ProviderPolicy[] {
  let byHost = BY_HOST.get(providers);
  if (byHost === undefined) {
    byHost = Map.groupBy(providers.values(), (one) => one.host);
    BY_HOST.set(providers, byHost);
  }
  return byHost.get(host) ?? NO_PROVIDERS;
}

const NO_PROVIDERS: readonly ProviderPolicy[] = [];

/** What of a loop it takes to know a destination. */
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

/** The providers whose requests go to exactly this scheme, host and port: one for each dialect. */
function providersAt(
  { scheme, host, port }: Pick<WantedDestination, "scheme" | "host" | "port">,
  policy: CompiledPolicy | undefined,
): readonly ProviderPolicy[] {
  const ofHost = policy === undefined ? NO_PROVIDERS : providersOf(policy, host);
  if (ofHost.length === 0) return NO_PROVIDERS;
  const isDefault = port === (scheme === "https" ? 443 : 80);
  const origin = `${scheme}://${host}${isDefault ? "" : `:${port}`}`;
  return ofHost.filter((one) => one.origin === origin);
}

/**
 * The route of a request to a provider's host: what that provider's own dialect has below its base
 * path, and nothing else.
 */
export function routeWithin(
  wanted: WantedDestination,
  { method, target, rawHeaders }: RequestHead,
  policy: CompiledPolicy | undefined,
): FoundRoute | Missing {
  let why: Missing | undefined;
  for (const { name, basePath, dialect } of providersAt(wanted, policy)) {
    if (dialect === "mcp" && target === (basePath || "/")) return endpointOf(method, name);
    if (dialect === "mcp" || !target.startsWith(`${basePath}/`)) continue;
    const found = findRoute(method, target.slice(basePath.length), rawHeaders, dialect);
    if (!isMissing(found)) return found;
    // Whoever has the path says what is wrong with it.
    if (found.missing !== "route_unknown" || found.detail !== undefined) why ??= found;
  }
  return why ?? { missing: "route_unknown" };
}

/** An MCP server has one path of its own, which names nobody: the gateway's does. */
function endpointOf(method: string, server: string): FoundRoute | Missing {
  const dialect = DIALECTS.mcp;
  const route = dialect.routes.find((one) => one.method === method);
  return route === undefined
    ? { missing: "method_not_allowed" }
    : { dialect, route, model: server };
}

function modeOf(
  wanted: WantedDestination,
  policy: CompiledPolicy | undefined,
  { inspection }: DestinationLoop,
): DestinationMode {
  if (!isProviders(wanted.host, policy)) return "tunnel";
  if (providersAt(wanted, policy).length === 0) return "refuse";
  if (wanted.as === "request") return "inspected";
  if (wanted.as === "plain") return "refuse";
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
