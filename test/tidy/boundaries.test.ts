import { describe, expect, test } from "vitest";
import { productSources, roomOf, type Source, withoutComments } from "./sources.ts";

/** Who may import whom. A room may always import itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  proto: [],
  ports: ["proto"],
  authority: ["proto", "ports"],
  audit: ["proto", "ports"],
  policy: ["proto", "ports"],
  mesh: ["proto", "ports", "authority", "audit", "policy"],
  adapters: ["proto", "ports", "authority", "audit", "policy", "mesh"],
  node: ["proto", "ports", "authority", "audit", "policy", "mesh", "adapters"],
  coordinator: ["proto", "ports", "authority", "audit", "policy", "mesh", "adapters"],
  cli: [
    "proto",
    "ports",
    "authority",
    "audit",
    "policy",
    "mesh",
    "adapters",
    "node",
    "coordinator",
  ],
};

/** Files that put the parts together, and so may name adapters; everybody else is handed ports. */
const WIRING = [
  /^node\/(main|app|config|loop-worker|control)\.ts$/,
  /^node\/kernel\/(main|enforcer-app)\.ts$/,
  /^node\/.*-worker\.ts$/,
  /^coordinator\/(main|app|config)\.ts$/,
  /^coordinator\/.*-worker\.ts$/,
  /^cli\//,
  /^bench\//,
  /^scripts\//,
];

/** Adapters that are vocabulary or transport of a door, not the outside world behind a port. */
const DOOR_ADAPTERS =
  /^adapters\/(grpc-.*|(server-)?settings|instance-lock|admin-server|process-metrics|trust-file)\.ts$/;

/** Pure rooms: no clock, no randomness, no I/O, no waiting. */
const PURE = [/^node\/decision\//, /^policy\//, /^authority\//, /^audit\//, /^mesh\//];

type Ban = { readonly pattern: RegExp; readonly why: string; readonly except: readonly RegExp[] };

const ADAPTERS = /^adapters\//;
const TOOLS = [/^bench\//, /^scripts\//];

const BANS: readonly Ban[] = [
  {
    pattern: /\bDate\.now\(|\bnew Date\(\)|performance\.now\(|process\.hrtime/,
    why: "only an adapter reads the clock: take a Clock",
    except: [ADAPTERS, ...TOOLS],
  },
  {
    pattern: /\bMath\.random\(|\brandomBytes\(|\brandomUUID\(|getRandomValues\(/,
    why: "only an adapter draws random bytes: take a Random",
    except: [ADAPTERS, ...TOOLS],
  },
  {
    pattern: /process\.(env|argv|exit|exitCode)\b/,
    why: "only a process entry reads the environment or ends the process",
    except: [/^(node|node\/kernel|coordinator|cli)\/main\.ts$/, /-worker\.ts$/, ADAPTERS, ...TOOLS],
  },
  {
    pattern: /\bas Permit\b|\bas unknown as Permit\b/,
    why: "a permit is minted by commit, never claimed",
    except: [],
  },
  {
    pattern: /dns\.lookup\(|\blookup\(\s*["'`]/,
    why: "dns.lookup shares libuv's pool with disk syncs: use adapters/name-resolution.ts",
    except: [],
  },
  {
    pattern: /^(?!import type\b).*\bfrom "node:https?";/,
    why: "an import of node:http loads a whole HTTP client beside it: use ports/http-module.ts",
    except: TOOLS,
  },
  {
    pattern: /\b(TODO|FIXME|XXX)\b/,
    why: "what is not done is an open issue, not a comment",
    except: [],
  },
];

const sources = productSources();

describe("boundaries", () => {
  test("see the imports they judge", () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(sources.flatMap(({ imports }) => imports).length).toBeGreaterThan(200);
  });

  test("each room imports only what stands below it", () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => target !== undefined && !mayImport(path, target))
        .map(({ target }) => `${path} must not import ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("only wiring names adapters of ports", () => {
    const wrong = sources.flatMap(({ path, imports }) => {
      if (roomOf(path) === "adapters" || WIRING.some((one) => one.test(path))) return [];
      return imports
        .filter(({ target }) => target?.startsWith("adapters/") && !DOOR_ADAPTERS.test(target))
        .map(({ target }) => `${path} is handed ports, it does not import ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  test("pure rooms do not wait", () => {
    const wrong = pureSources()
      .filter(({ text }) => /\bawait\b|\basync\b/.test(withoutComments(text)))
      .map(({ path }) => path);
    expect(wrong).toEqual([]);
  });

  test("pure rooms import no I/O", () => {
    const io = /^node:(fs|net|http|https|tls|dns|worker_threads|child_process|timers)/;
    const wrong = pureSources().flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => io.test(specifier))
        .map((one) => `${path}: ${one.specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  test.each(BANS)("$why", ({ pattern, except }) => {
    const wrong = sources
      .filter(({ path }) => !except.some((one) => one.test(path)))
      .flatMap(({ path, text }) => linesThatMatch(path, text, pattern));
    expect(wrong).toEqual([]);
  });

  test("nothing but forward and upgrade dials a provider", () => {
    const dialling =
      /\b(?:net|tls)\.connect\(|\bcreateConnection\(|\bhttps?\.(?:request|get)\(|\bfetch\(|\bnew (?:Pool|Agent|Client|OriginPool)\(|\.dispatch\(|\bconnect\b.* from "node:(?:net|tls)"/;
    const allowed = [
      /^node\/dataplane\/(forward|upgrade|upstream-pools|pinned-upstream|origin\/dial-origin|tunnel\/dial)\.ts$/,
      // To the operator's own receiver of alerts.
      /^node\/alerts\/webhook-post\.ts$/,
      // The bus, the doors' own sockets and the command line talk to the mesh, never to a provider.
      ADAPTERS,
      /^cli\//,
      ...TOOLS,
    ];
    const wrong = sources
      .filter(({ path }) => !allowed.some((one) => one.test(path)))
      .flatMap(({ path, text }) => linesThatMatch(path, text, dialling));
    expect(wrong).toEqual([]);
  });

  test("nothing but the coordinator's thread of logs calls witnesses", () => {
    const callers = sources
      .filter(({ imports }) =>
        imports.some(({ target }) => target === "adapters/witness-client.ts"),
      )
      .map(({ path }) => path);
    expect(callers).toEqual(["coordinator/archive/archive-worker.ts"]);
  });

  test("the thread of a node's log loads no protobuf, which was two thirds of what it read", () => {
    const loaded = loadedBy("node/audit/audit-worker.ts");
    expect(loaded.size).toBeGreaterThan(20);
    const isOfIt = (one: string) => one.startsWith("@bufbuild/") || one.startsWith("proto/gen/");
    expect([...loaded].filter(isOfIt)).toEqual([]);
  });

  test("only commit mints permits", () => {
    const importers = sources
      .filter(({ text }) => /\bmintPermit\b/.test(text))
      .map(({ path }) => path)
      .sort();
    expect(importers).toEqual(["node/decision/commit.ts", "node/decision/permit.ts"]);
  });

  test("there are no drawers for everything", () => {
    const drawer = /(^|\/)(utils?|helpers?|common|types|misc|shared|index|manager)(\/|\.ts$)/;
    expect(sources.map(({ path }) => path).filter((path) => drawer.test(path))).toEqual([]);
  });

  test("files stay short enough to be read at once", () => {
    const long = sources
      .filter(({ path }) => path !== "proto/reasons.ts")
      .filter(({ text }) => text.split("\n").length > 401)
      .map(({ path }) => path);
    expect(long).toEqual([]);
  });
});

function mayImport(path: string, target: string): boolean {
  const from = roomOf(path);
  const to = roomOf(target);
  if (from === to || from === "bench" || from === "scripts") return true;
  if (!path.includes("/")) return true;
  if (from === "node" && to === "cli") return false;
  return (MAY_IMPORT[from] ?? []).includes(to);
}

function pureSources(): readonly Source[] {
  return sources.filter(({ path }) => PURE.some((one) => one.test(path)));
}

/** Modules that come with this one, itself too: paths of ours, and names of packages. Types are not loaded. */
function loadedBy(path: string, loaded = new Set<string>()): ReadonlySet<string> {
  if (loaded.has(path)) return loaded;
  loaded.add(path);
  const source = sources.find((one) => one.path === path);
  const types = source?.text.matchAll(/(?:import|export) type [^;]*?from "([^"]+)"/g) ?? [];
  const isType = new Set([...types].map(([, specifier]) => specifier));
  for (const { specifier, target } of source?.imports ?? [])
    if (!isType.has(specifier)) loadedBy(target ?? specifier, loaded);
  return loaded;
}

function linesThatMatch(path: string, text: string, pattern: RegExp): string[] {
  return withoutComments(text)
    .split("\n")
    .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []));
}
