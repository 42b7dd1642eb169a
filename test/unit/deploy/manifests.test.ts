import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { COORDINATOR_SETTINGS } from "../../../coordinator/config.ts";
import { NODE_SETTINGS } from "../../../node/config.ts";
import { ENFORCER_SETTINGS } from "../../../node/kernel/enforcer-config.ts";
import { TRANSPARENT_PORT } from "../../../node/kernel/kernel-view.ts";
import { areGoProgramsRequired } from "../../support/go-programs.ts";
import { builtOverlay, kustomizeCommand, type Manifest } from "../../support/kustomize.ts";
import { monitoringQueries } from "../../support/monitoring-queries.ts";
import { NATS_CURRENT } from "../../support/nats-programs.ts";
import { readPromQuery } from "../../support/promql.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { namesIn, productSources, textOf } from "../../tidy/sources.ts";
import { selfSigned } from "../node/dataplane/self-signed.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const command = kustomizeCommand();
if (command === undefined) {
  const why = "no kustomize and no kubectl: `npm run tools` brings one";
  if (areGoProgramsRequired()) throw new Error(`CI must build the overlays: ${why}`);
  console.log(`SKIPPED, the overlays: ${why}`);
}
const names = namesIn("deploy/kustomize/overlays");
const overlays = new Map(
  command === undefined ? [] : names.map((name) => [name, builtOverlay(command, name)] as const),
);
const all = [...overlays.values()].flat();

type Env = { readonly name: string; readonly value?: string };
type Container = {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly Env[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: { readonly exec?: { readonly command: readonly string[] } };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly privileged?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: object;
    readonly capabilities?: { readonly drop?: string[]; readonly add?: string[] };
  };
};
type PodSpec = {
  readonly securityContext?: {
    readonly fsGroup?: number;
    readonly fsGroupChangePolicy?: string;
    readonly runAsNonRoot?: boolean;
    readonly seccompProfile?: { readonly type: string };
  };
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly volumes?: readonly { readonly hostPath?: { readonly path: string } }[];
  readonly automountServiceAccountToken?: boolean;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
};

function podSpecs(of: readonly Manifest[] = all): readonly PodSpec[] {
  return of.flatMap(({ spec }) => {
    const template = (spec as { template?: { spec?: PodSpec } } | undefined)?.template;
    return template?.spec ? [template.spec] : [];
  });
}
const containers = () =>
  podSpecs().flatMap((pod) => [...pod.containers, ...(pod.initContainers ?? [])]);
const words = ({ command: first = [], args = [] }: Container) => [...first, ...args];
const ours = () => containers().filter(({ image }) => /^altrace(-ebpf)?@/.test(image));

/** What each of our containers may do beyond nothing; each was tried with exactly these. */
const CAPABILITIES: Readonly<Record<string, readonly string[]>> = {
  enforcer: ["NET_ADMIN"],
  "enforcer with eBPF": ["NET_ADMIN", "BPF"],
  "altrace-rules": ["NET_ADMIN"],
  "own-state": ["CHOWN", "FOWNER"],
  canary: ["NET_RAW"],
};
/** What the component `ebpf` adds. */
const EBPF_PATHS = ["/sys/fs/bpf", "/sys/fs/cgroup"];
const hostPaths = ({ volumes = [] }: PodSpec) =>
  volumes.flatMap(({ hostPath }) => hostPath?.path ?? []).sort();
const MACHINE = "DaemonSet altrace-machine";
const LAUNCHER = ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP", "KILL"];

describe.skipIf(command === undefined)("each overlay", () => {
  test.each(names)("%s builds, and every object is what the API takes", async (name) => {
    const objects = overlays.get(name) as readonly Manifest[];
    expect(objects.length).toBeGreaterThan(10);
    for (const object of objects) {
      const model = await modelOf(object);
      expect(() => model.validate(), `${object.kind} ${object.metadata.name}`).not.toThrow();
    }
  });

  test("has no member that the API does not know, which it would leave out in silence", () => {
    const folder = join(ROOT, "node_modules", ".cache", `manifests-${process.pid}`);
    mkdirSync(folder, { recursive: true });
    try {
      const literals = all.map((object, i) => {
        const type = `import("${moduleOf(object)}").I${object.kind}`;
        return `export const o${i}: ${type} = ${JSON.stringify(object)};`;
      });
      writeFileSync(join(folder, "all.ts"), literals.join("\n"));
      writeFileSync(
        join(folder, "tsconfig.json"),
        JSON.stringify({
          compilerOptions: {
            noEmit: true,
            strict: true,
            skipLibCheck: true,
            module: "nodenext",
            types: [],
          },
          files: ["all.ts"],
        }),
      );
      const { status, stdout } = spawnSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], {
        encoding: "utf8",
      });
      expect(stdout).toBe("");
      expect(status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("sets only what exists: a misspelt setting would keep the program from starting", () => {
    const tables = {
      node: NODE_SETTINGS,
      enforcer: ENFORCER_SETTINGS,
      coordinator: COORDINATOR_SETTINGS,
    };
    const wrong = ours().flatMap((container) => {
      const line = words(container);
      const program = line[line.indexOf("cli/altrace.js") + 1] as keyof typeof tables;
      if (!line.includes("cli/altrace.js")) return [];
      const known = Object.values(tables[program]).map(({ env }) => env as string);
      const set = (container.env ?? []).map((one) => one.name);
      const unknown = set.filter((one) => one.startsWith("ALTRACE_") && !known.includes(one));
      return unknown.map((one) => `${container.name}: ${one}`);
    });
    expect(ours().length).toBeGreaterThan(10);
    expect(wrong).toEqual([]);
  });

  test("starts only programs and flags that exist", () => {
    const source = textOf("node/kernel/launcher/options.c");
    for (const container of ours()) {
      const line = words(container);
      if (line[0] === "altrace-launcher") {
        const own = line.slice(1, line.indexOf("--"));
        for (const flag of own.filter((word) => word.startsWith("--")))
          expect(source).toContain(`"${flag}"`);
        if (own.includes("--port")) expect(own).toContain(String(TRANSPARENT_PORT));
      }
      const at = line.indexOf("cli/altrace.js");
      if (at >= 0) expect(["node", "enforcer", "coordinator"]).toContain(line[at + 1]);
      if (at >= 0 && line[at + 2] !== undefined)
        expect(["canary", "sidecar"]).toContain(line[at + 2]);
    }
  });

  test("gives each container what it was tried with, and no more", () => {
    for (const container of containers()) {
      const { securityContext: right = {}, name } = container;
      const isLauncher = words(container)[0] === "altrace-launcher" && name !== "enforcer";
      expect(right.allowPrivilegeEscalation, name).toBe(false);
      expect(right.privileged, name).toBeUndefined();
      expect(right.capabilities?.drop, name).toEqual(["ALL"]);
      const isBpf = container.image.startsWith("altrace-ebpf@");
      const added = isLauncher ? LAUNCHER : CAPABILITIES[isBpf ? `${name} with eBPF` : name];
      expect(right.capabilities?.add, name).toEqual(added);
      if (name !== "agent") expect(right.readOnlyRootFilesystem, name).toBe(true);
    }
  });

  test("has root in no container without a right that root alone could have, and seccomp in all", () => {
    for (const { securityContext = {}, containers: own, initContainers = [] } of podSpecs()) {
      expect(securityContext.seccompProfile).toEqual({ type: "RuntimeDefault" });
      for (const { name, securityContext: right = {} } of [...own, ...initContainers]) {
        expect(right.seccompProfile, name).toBeUndefined();
        const isRoot = right.runAsUser === 0;
        expect(isRoot, name).toBe(right.capabilities?.add !== undefined);
        if (!isRoot) expect(securityContext.runAsNonRoot, name).toBe(true);
      }
    }
  });

  test("shares with a machine what its walls are made of, in one pod, and nothing else", () => {
    const shared = podSpecs()
      .filter((pod) => pod.hostNetwork || pod.hostPID || pod.hostIPC || hostPaths(pod).length > 0)
      .map((pod) => ({
        containers: pod.containers.map(({ name }) => name).sort(),
        more: [pod.hostPID, pod.hostIPC].filter(Boolean),
        paths: hostPaths(pod).filter((path) => !EBPF_PATHS.includes(path)),
      }));
    expect(shared.length).toBeGreaterThan(2);
    for (const one of shared)
      expect(one).toEqual({
        containers: ["enforcer", "node"],
        more: [],
        paths: [
          "/run/altrace",
          "/var/lib/altrace",
          "/var/lib/altrace-enforcer",
          "/var/lib/cni/results",
        ],
      });
    const withPrograms = podSpecs().filter((pod) => hostPaths(pod).includes("/sys/fs/bpf"));
    expect(withPrograms.length).toBe(1);
  });

  test("replaces a machine's pod by one that comes first, and takes its listeners over", () => {
    const machines = all.filter(({ kind, metadata }) => `${kind} ${metadata.name}` === MACHINE);
    expect(machines.length).toBeGreaterThan(1);
    for (const { spec } of machines)
      expect(spec).toMatchObject({
        updateStrategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      });
    for (const one of podSpecs(machines).flatMap((pod) => pod.containers)) {
      // A declared port is the machine's own here, and no second pod would be placed beside the first.
      expect(one.ports, one.name).toBeUndefined();
      expect(words(one).join(" ")).toMatch(/^altrace-launcher .*--handover \/run\/altrace\/.* -- /);
      // A node takes a while to load, and its agents wait for it.
      if (one.name !== "node") continue;
      expect(words(one)).toContain("--early");
      // Meanwhile the one before answers at this pod's address: what says that this one serves is in its own volume.
      const { value = "" } = one.env?.find(({ name }) => name === "ALTRACE_SERVING_FILE") ?? {};
      expect(one.startupProbe?.exec?.command).toEqual(["test", "-e", value]);
      expect(one.volumeMounts).toContainEqual({ name: "tmp", mountPath: dirname(value) });
    }
  });

  test("leaves the modes of what lies on a volume alone, which keys and HOME must have", () => {
    const lasting = all.flatMap(({ spec }) => {
      const { volumeClaimTemplates, template } = (spec ?? {}) as {
        volumeClaimTemplates?: unknown;
        template?: { spec?: PodSpec };
      };
      return volumeClaimTemplates && template?.spec ? [template.spec] : [];
    });
    // Without a group the volume is root's alone; with another policy each mount opens every file to the group.
    expect(lasting.length).toBeGreaterThan(8);
    for (const { securityContext, containers: of } of lasting)
      expect(securityContext, of[0]?.name).toMatchObject({
        fsGroup: expect.any(Number),
        fsGroupChangePolicy: "OnRootMismatch",
      });
  });

  test("runs nothing that is not named by its digest", () => {
    const loose = containers().filter(({ image }) => !/@sha256:[0-9a-f]{64}$/.test(image));
    expect(loose.map(({ image }) => image)).toEqual([]);
  });

  test("hands the cluster's token to the enforcer, and to nobody else", () => {
    for (const pod of podSpecs()) expect(pod.automountServiceAccountToken).toBe(false);
    const holders = containers().filter(({ volumeMounts = [] }) =>
      volumeMounts.some(({ mountPath }) => mountPath.includes("serviceaccount")),
    );
    expect([...new Set(holders.map(({ name }) => name))]).toEqual(["enforcer"]);
    const roles = all.filter(({ kind }) => kind === "ClusterRole") as unknown as {
      rules: { resources: string[]; verbs: string[] }[];
    }[];
    for (const { rules } of roles)
      expect(rules).toEqual([{ apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] }]);
  });

  test("builds every component of the folder", () => {
    const texts = names.map((name) =>
      textOf(`deploy/kustomize/overlays/${name}/kustomization.yaml`),
    );
    const used = texts.flatMap((text) =>
      [...text.matchAll(/components\/([a-z-]+)/g)].map(([, name]) => name),
    );
    expect([...new Set(used)].sort()).toEqual([...namesIn("deploy/kustomize/components")].sort());
    const agent = all.find(
      ({ kind, metadata }) => kind === "Deployment" && metadata.name === "worker",
    );
    expect(JSON.stringify(agent)).toContain("/etc/altrace/ca/bundle.crt");
  });

  test("has a disruption budget, and a network policy, for all that must stay", () => {
    for (const name of ["production", "gateway-only"]) {
      const of = (kind: string) =>
        (overlays.get(name) ?? [])
          .filter((one) => one.kind === kind)
          .map((one) => one.metadata.name);
      expect(of("PodDisruptionBudget")).toEqual(
        expect.arrayContaining(["altrace-coordinator", "altrace-nats"]),
      );
      expect(of("NetworkPolicy")).toContain("default-deny");
    }
  });
});

describe("what is watched", () => {
  const known = new Set(
    productSources()
      .filter(({ path }) => /^(node|coordinator)\//.test(path))
      .flatMap(({ text }) => [...text.matchAll(/"(altrace_[a-z_]+)"/g)].map(([, name]) => name)),
  );
  const pages = [
    "deploy/kustomize/base/mesh/dashboards/altrace-mesh.json",
    "deploy/kustomize/base/mesh/dashboards/altrace-machines.json",
    "deploy/kustomize/base/mesh/monitoring.yaml",
    "deploy/kustomize/base/machine/monitoring.yaml",
  ];

  test.each(pages)("in %s is measured somewhere", (page) => {
    const used = [...textOf(page).matchAll(/\baltrace_[a-z_]+/g)].map(([name]) =>
      name.replace(/_(bucket|count|sum)$/, ""),
    );
    expect(used.length).toBeGreaterThan(3);
    expect([...new Set(used)].filter((name) => !known.has(name))).toEqual([]);
  });
});

test("every alert and every panel is a question in Prometheus's own language", () => {
  const queries = monitoringQueries();
  expect(queries.length).toBeGreaterThan(30);
  for (const { query } of queries)
    expect(readPromQuery(query).metrics.length, query).toBeGreaterThan(0);
  expect(() => readPromQuery("sum(altrace_open")).toThrow("not understood");
});

describe("NATS", () => {
  test.skipIf(command === undefined)("in production is spoken to over TLS by all", () => {
    const production = podSpecs(overlays.get("production")).flatMap((pod) => pod.containers);
    const sets = ({ env = [] }: Container, name: string) => env.some((one) => one.name === name);
    const members = production.filter((one) => sets(one, "ALTRACE_NATS_URL"));
    expect(members.map(({ name }) => name).sort()).toEqual(["coordinator", "coordinator", "node"]);
    for (const member of members) expect(sets(member, "ALTRACE_NATS_CA")).toBe(true);
    const [server] = production.filter(({ name }) => name === "nats");
    expect(server?.volumeMounts?.map(({ mountPath }) => mountPath)).toContain("/etc/nats-tls");
  });

  // The one whose settings are the newest, where it is here.
  const { absent, program = "nats-server" } = NATS_CURRENT;
  const server = absent === undefined ? program : "nats-server";
  const files = ["base/mesh", "components/nats-tls", "overlays/small"];
  test.each(files.map((folder) => `${folder}/nats.conf`))("takes %s", (path) => {
    const text = textOf(`deploy/kustomize/${path}`);
    const always = /^ {2}sync_interval: "always"$/m;
    expect(text).toMatch(always);
    const version = execFileSync(server, ["--version"], { encoding: "utf8" });
    const [, major, minor] = /v(\d+)\.(\d+)/.exec(version) ?? [];
    const isKnown = Number(major) > 2 || Number(minor) >= 10;
    if (!isKnown) console.log(`SKIPPED for ${version.trim()}: sync_interval came with 2.10`);
    using folder = tempDir();
    const file = join(folder.path, "nats.conf");
    const { key, cert } = selfSigned("altrace-nats");
    const pems = { "tls.crt": cert, "tls.key": key, "ca.crt": cert };
    for (const [name, pem] of Object.entries(pems)) writeFileSync(join(folder.path, name), pem);
    const here = text.replaceAll("/etc/nats-tls", folder.path);
    writeFileSync(file, isKnown ? here : here.replace(always, ""));
    const routes = [0, 1, 2].map((i) => [
      `NATS_ROUTE_${i}`,
      `"nats-route://route:a-password@altrace-nats-${i}.altrace-nats:6222"`,
    ]);
    const own = { NATS_PASSWORD: '"a-password"', NATS_SERVER_NAME: "n0" };
    const env = { ...process.env, ...own, ...Object.fromEntries(routes) };
    execFileSync(server, ["-t", "-c", file], { env, stdio: "pipe" });
  });
});

describe("outside of Kubernetes", () => {
  const known = new Set(
    [NODE_SETTINGS, ENFORCER_SETTINGS, COORDINATOR_SETTINGS].flatMap((table) =>
      Object.values(table).map(({ env }) => env as string),
    ),
  );

  test.each([
    "deploy/compose.yaml",
    "deploy/systemd/altrace-enforcer.service",
    "deploy/systemd/altrace-node.service",
    "deploy/README.md",
  ])("%s names only settings that exist", (path) => {
    const used = [...textOf(path).matchAll(/\bALTRACE_[A-Z_]+/g)].map(([name]) => name);
    expect(used.filter((name) => !known.has(name))).toEqual([]);
  });

  test("the image is built from what is there, on bases that are pinned", () => {
    const text = textOf("deploy/Dockerfile");
    expect(text).toMatch(/^ARG BASE=\S+@sha256:[0-9a-f]{64}$/m);
    const bases = [...text.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(new Set(bases)).toEqual(
      new Set([["$", "{BASE}"].join(""), "packages", "scratch", "altrace"]),
    );
    expect(text).toMatch(/^USER 4737:4737$/m);
    for (const [, path] of text.matchAll(/^COPY (?!--from)(\S+) /gm))
      if (path !== ".") expect(() => namesOrText(path as string)).not.toThrow();
  });

  test("nothing that a run leaves in a checkout goes into the image", () => {
    const ignored = textOf(".dockerignore").split("\n");
    for (const left of textOf(".gitignore").trim().split("\n")) {
      const name = left.replace(/\/$/, "");
      expect(
        ignored.some((line) => line === name || line === `**/${name}`),
        left,
      ).toBe(true);
    }
  });
});

function namesOrText(path: string): unknown {
  try {
    return namesIn(path);
  } catch {
    return textOf(path);
  }
}

/** Where the type and the schema of an object stand. */
function moduleOf({ apiVersion, kind }: Manifest): string {
  const home = apiVersion.startsWith("monitoring.coreos.com/")
    ? "@kubernetes-models/prometheus-operator"
    : "kubernetes-models";
  return `${home}/${apiVersion}/${kind}`;
}

type Model = { validate(): void };

async function modelOf(object: Manifest): Promise<Model> {
  const module = (await import(moduleOf(object))) as Readonly<
    Record<string, new (data: object) => Model>
  >;
  const Kind = module[object.kind];
  if (Kind === undefined) throw new Error(`no schema for ${object.kind}`);
  return new Kind(object);
}
