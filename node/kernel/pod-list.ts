import { isIP } from "node:net";
import { isName } from "../../proto/ids.ts";
import { canonicalAddress } from "./address-bytes.ts";
import type { Pod } from "./pod.ts";

/** Labels by which a pod says who it is; both are needed. */
export const LABEL_TEAM = "altrace.io/team";
export const LABEL_AGENT = "altrace.io/agent";
/** Label of the pods that try to get out. */
const LABEL_CANARY = "altrace.io/canary";

/** A pod as the cluster's API shows it, as far as it is read. */
export type ShownPod = {
  readonly metadata?: {
    readonly uid?: string;
    readonly name?: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly hostNetwork?: boolean };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
};

/**
 * Reads one pod of the API; undefined for one that has no network of its own on this machine.
 *
 * A label that is no name makes a stranger, who is denied, never somebody else.
 */
export function readPod(shown: ShownPod, exemptNamespaces: readonly string[]): Pod | undefined {
  const { metadata, spec, status } = shown;
  const { uid, name, namespace, labels = {} } = metadata ?? {};
  if (!uid || !name || !namespace) return undefined;
  // It shares the machine's own addresses: rules for it would be rules for the machine.
  if (spec?.hostNetwork === true) return undefined;
  // A pod that has ended gave its addresses back, and another may have them.
  if (status?.phase === "Succeeded" || status?.phase === "Failed") return undefined;
  const team = labels[LABEL_TEAM] ?? "";
  const agent = labels[LABEL_AGENT] ?? "";
  const isOfCluster = exemptNamespaces.includes(namespace);
  // Nobody else's: an agent that says to be one would be asked, and by its silence keep the machine from being ready.
  const canary = isOfCluster && labels[LABEL_CANARY] === "true";
  const given = [status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip)];
  return {
    uid,
    namespace,
    name,
    agent: isName(team) && isName(agent) ? { team, agent } : undefined,
    addresses: [...new Set(given.filter(isPlainAddress).map(canonicalAddress))],
    // A canary lives in a namespace of the cluster's own, and is governed for what it is there for.
    exempt: isOfCluster && !canary,
    canary,
  };
}

/** The file of pods is not of the form it must have. */
export class PodListError extends Error {
  override readonly name = "PodListError";
}

/**
 * Reads the list of pods of a machine without Kubernetes: a JSON array of
 * `{name, agent: "team/agent", addresses, link, port?, exempt?,
 * canary?}`.
 *
 * @throws PodListError Something in it is not what it must be; the message says where.
 */
export function readPodList(text: string): readonly Pod[] {
  const rows: unknown = parsed(text);
  if (!Array.isArray(rows)) throw new PodListError("the list of pods is no array");
  return rows.map((row, i) => podOf((row ?? {}) as Row, i));
}

type Row = {
  readonly name?: unknown;
  readonly agent?: unknown;
  readonly addresses?: unknown;
  readonly link?: unknown;
  readonly port?: unknown;
  readonly exempt?: unknown;
  readonly canary?: unknown;
};

function podOf({ name, agent, addresses, link, port, exempt, canary }: Row, i: number): Pod {
  const fail = (what: string): never => {
    throw new PodListError(`pod ${i}: ${what}`);
  };
  const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
  if (!isText(name)) return fail("name is missing");
  const parts = typeof agent === "string" ? agent.split("/") : [];
  const [team = "", own = ""] = parts;
  const isAgent = parts.length === 2 && isName(team) && isName(own);
  if (agent !== undefined && !isAgent) return fail("agent is not team/agent");
  if (!Array.isArray(addresses) || !addresses.every(isPlainAddress))
    return fail("addresses is no list of addresses");
  for (const word of [link, port])
    if (word !== undefined && !isText(word)) fail("link and port are names of interfaces");
  return {
    uid: name,
    namespace: "",
    name,
    agent: isAgent ? { team, agent: own } : undefined,
    // The kernel shows them in one spelling, and a killed address is looked for in what it shows.
    addresses: addresses.map(canonicalAddress),
    exempt: exempt === true,
    canary: canary === true,
    ...(isText(link) && { link }),
    ...(isText(port) && { port }),
  };
}

/** With a zone it would name an interface. */
function isPlainAddress(value: unknown): value is string {
  return typeof value === "string" && isIP(value) !== 0 && !value.includes("%");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PodListError(`the list of pods is no JSON: ${String(error)}`);
  }
}
