import { isIPv4 } from "node:net";
import { describe, expect, test } from "vitest";
import { builtOverlay, kustomizeCommand, type Manifest } from "../../support/kustomize.ts";
import { namesIn } from "../../tidy/sources.ts";

// What network plugins make of the policies, by Kubernetes' own rules: whom a policy selects is reached as policies say
// and not otherwise; several add up; a name of a port is the selected pod's own. A pod is never found by an address,
// because plugins differ in whether a range covers pods: only a machine, and whoever is outside, has one.

type Labels = Readonly<Record<string, string>>;
type Selector = { readonly matchLabels?: Labels };
type Peer = {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
};
type Port = { readonly port: string | number; readonly protocol?: string };
type Rule = {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly Port[];
};
type Policy = {
  readonly podSelector: Selector;
  readonly policyTypes: readonly string[];
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
};
/** One end of a connection: a pod by its labels and those of its namespace, or an address. */
type End = {
  readonly namespace?: string;
  readonly labels?: Labels;
  readonly ports?: Readonly<Record<string, number>>;
  readonly address?: string;
};

const command = kustomizeCommand();
const MACHINE: End = { address: "10.0.1.2" };
const OUTSIDE: End = { address: "203.0.113.7" };

describe.skipIf(command === undefined)("the network policies", () => {
  test.each(namesIn("deploy/kustomize/overlays"))(
    "of %s let the mesh through, and nobody else",
    (name) => {
      const world = new World(builtOverlay(command as readonly string[], name));
      const { pods } = world;
      const has = (pod: string) => pods.has(pod);
      const ways: (readonly [from: string, to: string, port: number])[] = [
        ["altrace-coordinator", "altrace-nats", 4222],
        ["altrace-nats", "altrace-nats", 6222],
        ["operators", "altrace-coordinator", 4092],
        ["monitoring", "altrace-coordinator", 4093],
      ];
      if (has("altrace-machine"))
        ways.push(["machine", "altrace-nats", 4222], ["machine", "altrace-canary", 14055]);
      if (has("altrace-gateway"))
        ways.push(
          ["altrace-gateway", "altrace-nats", 4222],
          ["governed", "altrace-gateway", 4000],
          ["monitoring", "altrace-gateway", 4091],
        );
      if (world.sidecar !== undefined) ways.push([world.sidecar, "altrace-nats", 4222]);
      const ends = new Map<string, End>([
        ...[...pods].filter(([pod]) => pod !== "altrace-machine"),
        ["machine", MACHINE],
        ["outside", OUTSIDE],
        ["operators", world.podOf({ "altrace.io/operators": "true" })],
        ["monitoring", world.podOf({ "altrace.io/monitoring": "true" })],
        ["governed", world.podOf({ "altrace.io/governed": "true" })],
        ["stranger", world.podOf({})],
      ]);
      const open = [...ends].flatMap(([from, source]) =>
        [...pods].flatMap(([to, target]) =>
          Object.values(target.ports ?? {})
            .filter((port) => world.isOpen(source, target, port))
            .map((port) => `${from} to ${to}:${port}`),
        ),
      );
      const wanted = ways.map(([from, to, port]) => `${from} to ${to}:${port}`);
      expect(wanted.filter((way) => !open.includes(way))).toEqual([]);
      // Servers of NATS may be clients of one another, and machines are a range that an overlay names.
      const harmless = ["altrace-nats to altrace-nats:4222", "machine to altrace-nats:4222"];
      expect(open.filter((way) => !wanted.includes(way) && !harmless.includes(way))).toEqual([]);
    },
  );

  test("of full let a coordinator out to witnesses and to who knows their names, and nowhere else", () => {
    const world = new World(builtOverlay(command as readonly string[], "full"));
    const coordinator = world.pods.get("altrace-coordinator") as End;
    const names = { ...world.podOf({ any: "x" }), labels: { "k8s-app": "kube-dns" } };
    const isOpen = (to: End, port: number) => world.isOpen(coordinator, to, port);
    expect([isOpen(OUTSIDE, 443), isOpen(names, 53)]).toEqual([true, true]);
    const others = [
      { to: OUTSIDE, port: 80 },
      { to: MACHINE, port: 443 },
    ];
    others.push({ to: { address: "169.254.169.254" }, port: 443 });
    expect(others.filter(({ to, port }) => isOpen(to, port))).toEqual([]);
  });
});

class World {
  readonly #policies: readonly { readonly namespace: string; readonly policy: Policy }[];
  readonly #namespaces: Map<string, Labels>;
  /** By the name of their workload; those that share a name of their program are one. */
  readonly pods = new Map<string, End>();
  /** The one that has a node within. */
  readonly sidecar: string | undefined;

  constructor(objects: readonly Manifest[]) {
    this.#namespaces = new Map(
      objects
        .filter(({ kind }) => kind === "Namespace")
        .map(({ metadata }) => [metadata.name, (metadata as { labels?: Labels }).labels ?? {}]),
    );
    this.#policies = objects
      .filter(({ kind }) => kind === "NetworkPolicy")
      .map(({ metadata, spec }) => ({
        namespace: metadata.namespace ?? "",
        policy: spec as Policy,
      }));
    for (const { metadata, spec } of objects) {
      const template = (spec as { template?: Template } | undefined)?.template;
      const labels = template?.metadata?.labels;
      if (!template || !labels) continue;
      const named = template.spec.containers.flatMap(({ ports = [] }) => ports);
      const name = labels["app.kubernetes.io/name"] ?? metadata.name;
      if (template.spec.initContainers?.some((one) => one.name === "altrace-node"))
        this.sidecar = name;
      this.pods.set(name, {
        namespace: metadata.namespace ?? "",
        labels,
        ports: Object.fromEntries(named.map(({ name, containerPort }) => [name, containerPort])),
      });
    }
  }

  /** Some pod of a namespace with these labels. */
  podOf(labels: Labels): End {
    const namespace = `of ${JSON.stringify(labels)}`;
    this.#namespaces.set(namespace, labels);
    return { namespace, labels: { some: "x" } };
  }

  isOpen(from: End, to: End, port: number): boolean {
    return (
      this.#allows(to, "ingress", from, (one) => (to.ports?.[one] ?? Number(one)) === port) &&
      this.#allows(from, "egress", to, (one) => (to.ports?.[one] ?? Number(one)) === port)
    );
  }

  #allows(
    end: End,
    way: "ingress" | "egress",
    other: End,
    isPort: (port: string) => boolean,
  ): boolean {
    const type = way === "ingress" ? "Ingress" : "Egress";
    const selecting = this.#policies.filter(
      ({ namespace, policy }) =>
        namespace === end.namespace &&
        policy.policyTypes.includes(type) &&
        selects(policy.podSelector, end.labels),
    );
    if (selecting.length === 0) return true;
    return selecting.some(({ namespace, policy }) =>
      (policy[way] ?? []).some(({ from, to, ports }) => {
        const peers = way === "ingress" ? from : to;
        const isPeer =
          peers === undefined || peers.some((peer) => this.#is(peer, other, namespace));
        return isPeer && (ports === undefined || ports.some((one) => isPort(String(one.port))));
      }),
    );
  }

  #is({ ipBlock, namespaceSelector, podSelector }: Peer, end: End, own: string): boolean {
    if (ipBlock)
      return (
        end.address !== undefined &&
        isWithin(end.address, ipBlock.cidr) &&
        !(ipBlock.except ?? []).some((range) => isWithin(end.address as string, range))
      );
    if (end.namespace === undefined) return false;
    const isThere = namespaceSelector
      ? selects(namespaceSelector, this.#namespaces.get(end.namespace))
      : end.namespace === own;
    return isThere && (podSelector === undefined || selects(podSelector, end.labels));
  }
}

type Template = {
  readonly metadata?: { readonly labels?: Labels };
  readonly spec: {
    readonly initContainers?: readonly { readonly name: string }[];
    readonly containers: readonly {
      readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
    }[];
  };
};

function selects({ matchLabels = {} }: Selector, labels: Labels = {}): boolean {
  return Object.entries(matchLabels).every(([name, value]) => labels[name] === value);
}

function isWithin(address: string, cidr: string): boolean {
  const [base = "", bits = "32"] = cidr.split("/");
  if (!isIPv4(address) || !isIPv4(base)) return false;
  const number = (text: string) =>
    text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - Number(bits));
  return Math.floor(number(address) / size) === Math.floor(number(base) / size);
}
