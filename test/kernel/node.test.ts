import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodeVkey } from "../../audit/signed-note.ts";
import { witnessKey } from "../../coordinator/witness.ts";
import { gatePipes } from "../../node/kernel/gate-pipes.ts";
import { twinKeys } from "../../ports/twin-keys.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { PROVIDER_KEYS } from "../support/e2e-policy.ts";
import { gateFiles, listPods, startEnforcer, writePodList } from "../support/kernel-enforcer.ts";
import {
  KernelLab,
  kernelUnavailable,
  LAB,
  LAUNCHER_CAPABILITIES,
  mounting,
  type Said,
  type Speaker,
} from "../support/kernel-lab.ts";
import { monitoringQueries } from "../support/monitoring-queries.ts";
import { Scrape } from "../support/promql.ts";
import { E2E_TIMEOUTS, NODE } from "../support/run-altrace.ts";
import { runHere } from "../support/run-here.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const unavailable = kernelUnavailable();
const PROVIDER = "api.openai.com";
const FILES = "files.example.com";
const EVIL = "evil.example.com";
/** Each name outside has an address of its own, so that a connection to it is told from all others. */
const OUTSIDE = { [PROVIDER]: LAB.inet4, [FILES]: "10.9.0.3", [EVIL]: "10.9.0.66" };
const ANSWER = "One answer in five pieces.";
/** Reads a page for each line: a process of its own for each would cost more than all that it looks at. */
const READER = `
import http.client, json, sys
for line in sys.stdin:
    port, name = line.split()
    wire = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    try:
        wire.request("GET", "/" + name)
        answer = wire.getresponse()
        page = f"{answer.status} {answer.read().decode()}"
    except OSError as error:
        page = str(error)
    wire.close()
    print(json.dumps({"page": page}), flush=True)
`;

describe.skipIf(unavailable !== undefined)("node, enforcer and launcher on one machine", () => {
  let lab: KernelLab;
  let far: Speaker;
  let frames: Speaker;
  let enforcer: Speaker;
  let altrace: Speaker;
  let agent: Speaker;
  let reader: Speaker;
  let keys: Readonly<Record<string, string>>;

  /** Everybody outside, and their certificates. */
  const openOutside = async (): Promise<readonly string[]> => {
    for (const address of [OUTSIDE[FILES], OUTSIDE[EVIL]])
      lab.run("inet", `ip addr add ${address}/32 dev eth0`);
    frames = await lab.oracle("inet", { links: ["eth0"] });
    const script = `${import.meta.dirname}/far-provider.ts`;
    far = lab.speak("inet", [NODE, script, JSON.stringify(OUTSIDE)]);
    const { certificates } = await said(far, ({ ready }) => ready === true);
    return certificates as readonly string[];
  };

  beforeAll(async () => {
    lab = new KernelLab();
    listPods(lab);
    const [certificates, walls] = await Promise.all([
      openOutside(),
      startEnforcer(lab, { ALTRACE_CANARY_MS: "500" }),
    ]);
    enforcer = walls;
    altrace = startNode(lab, certificates);
    keys = (await said(altrace, ({ ready }) => ready === true)).keys as typeof keys;
    agent = await startAgent(lab, "a1");
    reader = lab.speak("node", ["python3", "-c", READER]);
  });
  afterAll(() => lab?.[Symbol.dispose]());

  const acts = async (what: object, by = agent): Promise<Said> => {
    const before = by.said.length;
    by.child.stdin?.write(`${JSON.stringify(what)}\n`);
    return waitUntil(
      () => `${JSON.stringify(what)}; ${JSON.stringify(by.said)}; ${tail(altrace)}`,
      () => by.said.slice(before).find(({ ended }) => ended === undefined),
    );
  };
  const outside = async (): Promise<Said> => {
    const before = far.said.length;
    far.child.stdin?.write("tell\n");
    return waitUntil("the far side's word", () => far.said[before]);
  };
  const cli = async (...words: string[]): Promise<string> => {
    const done = await runHere(...words, "--home", homeOf(lab));
    expect(done.stderr).toBe("");
    return done.stdout;
  };
  /** Its certificate for providers comes a moment after its policy. */
  const asks = (prompt: string, key: string) =>
    waitUntil(
      () => `an answer to ${prompt}: ${JSON.stringify(agent.said)}`,
      async () => {
        const word = await acts({ ask: prompt, key });
        return word.answer === undefined ? undefined : word;
      },
    );

  /** Opens one, with the agent's newest word on it. */
  const tunnelled = () =>
    waitUntil(
      () => `a tunnel: ${tail(agent)}; ${tail(altrace)}`,
      async () => (await acts({ tunnel: FILES, at: OUTSIDE[FILES] })).tunnel === FILES,
    );
  const cut = () => agent.said.filter(({ ended }) => ended === FILES).length;
  const ready = () => altrace.said.filter((one) => one.ready === true).length;
  /** What a page of the machine says, as somebody on it reads it; by default the node's. */
  const page = async (name: "readyz" | "metrics", port = 4091): Promise<string> => {
    const before = reader.said.length;
    reader.child.stdin?.write(`${port} ${name}\n`);
    const told = await waitUntil(`${name} of ${port}`, () => reader.said[before]);
    return String(told.page);
  };

  test("backlog: as many captured connections wait as the launcher lets", () => {
    const listening = lab.run("node", "ss -ltnH sport = :14001");
    expect(listening.match(/LISTEN\s+\d+\s+4096\s/g)).toHaveLength(2);
  });

  test("capture: an official SDK that knows of nothing is judged, served, and named by its pod", async () => {
    const key = keys["research/worker-1"] as string;
    expect(await asks("out of a pod", key)).toMatchObject({ answer: ANSWER });
    const { received, connections } = await outside();
    const reached = (received as { headers: Record<string, string>; body: string }[]).at(-1);
    expect(reached?.body).toContain("out of a pod");
    // The provider's key was put in outside of the pod, which never had it.
    expect(reached?.headers.authorization).toBe(`Bearer ${PROVIDER_KEYS.OPENAI_API_KEY}`);
    expect(connections).toMatchObject({ [EVIL]: 0 });
    const record = await waitUntil("the request's own record", async () => {
      const found = await cli(
        "audit",
        "query",
        "--agent",
        "research/worker-1",
        "--json",
        "--limit",
        "1000",
      );
      const { records } = JSON.parse(found) as { records: RecordSeen[] };
      return records.find(({ act, dec }) => act?.model !== undefined && dec === "allow");
    });
    expect(record).toMatchObject({
      act: { door: "transparent", host: `${PROVIDER}:443`, model: "gpt-5-mini" },
    });
  });

  test("capture: a pod that brings another agent's key is nobody, and nothing of it goes out", async () => {
    const own = keys["research/worker-1"] as string;
    await asks("with its own key", own);
    const stolen = keys["research/worker-2"] as string;
    // The key is good, and where it lives it is served: only the pod is not its.
    const refused = { status: 401, reason: "credentials_conflict" };
    expect(await acts({ ask: "with a neighbour's key", key: stolen })).toMatchObject(refused);
    expect(await asks("with its own key again", own)).toMatchObject({ answer: ANSWER });
    expect(JSON.stringify((await outside()).received)).not.toContain("with a neighbour's key");
    const record = await waitUntil("the refusal's record", async () => {
      const found = await cli("audit", "query", "--denied", "--json", "--limit", "1000");
      const { records } = JSON.parse(found) as { records: (RecordSeen & Refused)[] };
      return records.find(({ rc }) => rc === "credentials_conflict");
    });
    expect(record.act).toMatchObject({ door: "transparent", host: `${PROVIDER}:443` });
  });

  test("the gate's helper is told of what is taken in, also while it stands still", async () => {
    const helper = { uid: 0, word: "altrace-gate" };
    expect(await lab.stop("node", helper)).toBe(1);
    const { flows } = gatePipes(gateFiles(lab).socket);
    const pipe = openSync(flows, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      await lab.attack({ only: ["tcp4-443"] });
      const notes = Buffer.alloc(40 * 64);
      const count = readSync(pipe, notes) / 40;
      const told = Array.from({ length: count }, (_, i) => notes.subarray(i * 40, i * 40 + 40));
      const ports = [443, expect.any(Number)];
      expect(told.map((note) => [note.readUInt16BE(4), note.readUInt16BE(6)])).toContainEqual(
        ports,
      );
      expect(told.map((note) => note.subarray(24, 28).join("."))).toContain(LAB.a1[0]);
    } finally {
      closeSync(pipe);
      lab.signal("node", helper, "SIGCONT");
    }
  });

  test("names are told to those who may know them, and an address is not a way around", async () => {
    expect(await acts({ resolve: FILES })).toMatchObject({ resolved: FILES });
    expect(await acts({ resolve: EVIL })).toMatchObject({ code: "ENOTFOUND" });
    for (const at of [OUTSIDE[EVIL], LAB.inet6])
      expect(await acts({ tunnel: EVIL, at })).toMatchObject({ code: expect.any(String) });
    // The name is granted, the address is the agent's: what is dialled is the node's own answer.
    const held = await acts({ tunnel: FILES, at: OUTSIDE[EVIL] });
    expect(held).toEqual({ tunnel: FILES });
    // A client has done with TLS before its server has.
    const connections = await waitUntil("the far side to count it", async () => {
      const { connections: now } = (await outside()) as { connections: Record<string, number> };
      return now[FILES] === 0 ? undefined : now;
    });
    expect(connections).toMatchObject({ [EVIL]: 0, [FILES]: 1 });
    await lab.settled(frames);
    const strange = frames.said.filter(
      ({ src, dst }) => dst === OUTSIDE[EVIL] || (src !== LAB.node4 && src !== LAB.node6),
    );
    expect(strange.filter(({ src }) => !String(src).startsWith("fe80:"))).toEqual([]);
    await waitUntil("the refusal's record", async () => {
      const denied = await cli("audit", "query", "--denied", "--json", "--limit", "1000");
      return denied.includes(`"${EVIL}:443"`);
    });
  });

  test("loop guard: what the node itself dials is not judged again, and nobody calls its listener", async () => {
    const refusals = async () => {
      const found = await cli("audit", "query", "--denied", "--json", "--limit", "1000");
      const { records } = JSON.parse(found) as { records: Refused[] };
      return records.filter(({ rc }) => rc === "captured_self").map(({ act }) => act?.orig);
    };
    const { connections: before } = await outside();
    // In the place of rules that do not tell the proxy from its agent.
    const own = `meta skuid 4737 ip daddr ${OUTSIDE[FILES]} tcp dport 443 meta mark set 0x10`;
    const back = "iifname lo meta mark 0x10 meta l4proto tcp tproxy ip to 127.0.0.1:14001 accept";
    lab.run(
      "node",
      "nft -f -",
      `table inet x {
        chain out {
          type route hook output priority mangle; ${own}
        }
        chain in {
          type filter hook prerouting priority mangle; ${back}
        }
      }`,
    );
    const looped = await acts({ tunnel: FILES, at: OUTSIDE[FILES] });
    lab.run("node", "nft delete table inet x");
    expect(looped).toMatchObject({ code: expect.any(String) });
    // Once: it did not go round.
    await waitUntil("its record", async () => (await refusals()).length > 0);
    expect(await refusals()).toEqual([`${OUTSIDE[FILES]}:443`]);
    expect((await outside()).connections).toEqual(before);
    // It names a server, as whoever wants to be carried must.
    const call = `import ssl,socket;c=ssl.create_default_context();
c.wrap_socket(socket.create_connection(("127.0.0.1",14001)),server_hostname="${FILES}")`;
    await lab.speak("node", ["python3", "-c", call]).exit;
    await waitUntil("the caller's record", async () => (await refusals()).length > 1);
    expect(await refusals()).toContain("127.0.0.1:14001");
  });

  test("a pod that nobody has registered is refused, and listed with what it tried", async () => {
    const one = { name: "one", agent: "research/worker-1", addresses: LAB.a1 };
    writePodList(lab, [one, { name: "two", addresses: LAB.a2 }]);
    await waitUntil(
      "the list to be the node's",
      () => !readFileSync(gateFiles(lab).pods, "utf8").includes("research/worker-2"),
    );
    const list = async () => {
      const told = JSON.parse(await cli("discover", "--json")) as { strangers: Stranger[] };
      return told.strangers.find(({ pod }) => pod === "two");
    };
    // Before it has tried anything it is listed as one that might.
    expect(await waitUntil("the silent pod", list)).toMatchObject({ tries: "0" });
    const stranger = await waitUntil(
      () => `what it tried: ${tail(altrace)}`,
      async () => {
        // Each loop looks at the list once a second: what is tried before is the agent's that was there.
        await lab.attack({ from: "a2", only: ["sni-evil", "sni-none", "dns-udp4", "tcp6-443"] });
        const told = await list();
        return told && told.hosts.length > 2 && told.doors.length > 1 ? told : undefined;
      },
    );
    expect(stranger.hosts).toEqual(
      expect.arrayContaining(["evil.example", expect.stringMatching(/^198\.18\.0\.\d+:443$/)]),
    );
    expect(stranger.doors.toSorted()).toEqual(["dns", "transparent"]);
    expect(stranger.reasons).toEqual(
      expect.arrayContaining(["source_unknown", "server_name_missing"]),
    );
    expect(Number(stranger.firstAtMs)).toBeLessThanOrEqual(Number(stranger.lastAtMs));
    // An address that two pods have is nobody's either, and the rules of the others are loaded.
    writePodList(lab, [
      one,
      { name: "two", agent: "research/worker-2", addresses: LAB.a2 },
      { name: "stale", agent: "research/worker-3", addresses: [LAB.a2[0]] },
    ]);
    const contested = await waitUntil("a contested address to be listed", async () => {
      await lab.attack({ from: "a2", only: ["sni-evil"] });
      const told = JSON.parse(await cli("discover", "--json")) as { strangers: Stranger[] };
      return told.strangers.find(({ pod, tries }) => pod === "stale+two" && tries !== "0");
    });
    expect(contested.reasons).toContain("source_unknown");
    expect(lab.run("node", "nft list set inet altrace assigned4")).toContain(LAB.a1[0]);
    listPods(lab);
    await waitUntil("it to be registered", async () => (await list()) === undefined);
  });

  test("kill: a killed team loses its tunnels, and the kernel's gate closes; a revive opens it", async () => {
    const killed = await cli("kill", "team/research", "--wait", "--json");
    const { command } = JSON.parse(killed) as { command: { nodes: { ack: Acked }[] } };
    const [{ ack }] = command.nodes as [{ ack: Acked }];
    expect(ack).toMatchObject({ closed: true, durable: true });
    // Whoever came first has ended it: the loop, or the kernel.
    expect(ack.closedCount + ack.sweptCount).toBeGreaterThan(0);
    // In this order: the cell, the gate, the ends.
    expect(Number(ack.gatedNs)).toBeGreaterThan(Number(ack.enforcedNs));
    expect(Number(ack.closedNs)).toBeGreaterThan(Number(ack.gatedNs));
    // Told later, or not yet, where the machine was too busy for the shorter way; the gate's own time is then that of
    // the longer one, and the ends may have come before.
    if (ack.sweptNs !== "0") expect(Number(ack.sweptNs)).toBeGreaterThan(Number(ack.enforcedNs));
    // Its tunnel was allowed, and ended for the kill and for nothing else.
    await waitUntil("the record of its end", async () =>
      (await cli("audit", "query", "--denied", "--json", "--limit", "1000")).includes(
        "killed_team",
      ),
    );
    await said(agent, ({ ended, how }) => ended === FILES && how === "ECONNRESET");
    await waitUntil("the far side to lose it", async () => {
      const { open } = (await outside()) as { open: Record<string, number> };
      return open[FILES] === 0;
    });
    expect(lab.run("node", "nft list set inet altrace killed4")).toContain(LAB.a1[0]);
    expect(await acts({ tunnel: FILES, at: OUTSIDE[FILES] })).toMatchObject({
      code: "ECONNREFUSED",
    });
    expect((await outside()).connections).toMatchObject({ [FILES]: 1 });
    await cli("revive", "team/research", "--wait");
    // Also while the enforcer is held up: the node has a shorter way, which remembers nothing.
    const wall = { uid: 0, word: "altrace.js\0enforcer" };
    // Its launcher has the same words.
    expect(await lab.stop("node", wall)).toBe(2);
    try {
      // On a busy machine it may not be answered in time, and nobody else answers now.
      await waitUntil("a kill by the shorter way", async () => {
        const said = JSON.parse(await cli("kill", "agent/research/worker-1", "--wait", "--json"));
        if (Number(said.command.nodes[0].ack.gatedNs) > 0) return true;
        await cli("revive", "agent/research/worker-1", "--wait");
        return undefined;
      });
      await waitUntil("the gate to be closed for good", () =>
        lab.run("node", "nft list set inet altrace killed4").includes(LAB.a1[0]),
      );
    } finally {
      lab.signal("node", wall, "SIGCONT");
    }
    await cli("revive", "agent/research/worker-1", "--wait");
    expect(lab.run("node", "nft list set inet altrace killed4")).not.toContain(LAB.a1[0]);
    expect(await acts({ tunnel: FILES, at: OUTSIDE[FILES] })).toEqual({ tunnel: FILES });
  });

  test("a canary that gets out makes the node not ready, and that is in the log", async () => {
    const line = [NODE, "cli/altrace.js", "enforcer", "canary"];
    const canary = lab.speak("a2", line, { ALTRACE_CANARY_PACKETS: lab.canaryPackets() });
    const one = { name: "one", agent: "research/worker-1", addresses: LAB.a1 };
    writePodList(lab, [one, { name: "canary", addresses: LAB.a2, canary: true }]);
    let shown = "";
    const becomes = (word: string) =>
      waitUntil(
        () => `the node to say ${word}: ${shown}; ${JSON.stringify(canary.said)}`,
        async () => {
          shown = await page("readyz");
          return shown.includes(word);
        },
      );
    await becomes("200");
    // Somebody else's rule sets the very mark by which ours let replies pass.
    const hook = "type filter hook prerouting priority -310";
    lab.run(
      "node",
      "nft -f -",
      `table ip x {\nchain c {\n${hook}\niifname p2 meta mark set 0x20\n}\n}\n`,
    );
    await becomes("kernel_bypass: a canary reached 10.9.0.2:14055 over tcp");
    expect(await page("metrics")).toContain('altrace_kernel_fault{code="kernel_bypass"} 1');
    lab.run("node", "nft delete table ip x");
    await becomes("200");
    lab.run("node", "nft flush ruleset");
    const records = await waitUntil("both in the log", async () => {
      const found = await cli("audit", "query", "--kind", "kernel", "--json");
      const { records: all } = JSON.parse(found) as {
        records: { rc: string; wrong?: string[]; what?: string[] }[];
      };
      // Until they are there again a canary may get out, which then is told first.
      return all.some(({ wrong }) => wrong?.includes("kernel_rules_down")) && all;
    });
    const codes = records.map(({ rc }) => rc);
    expect(codes).toContain("ok");
    expect(records.find(({ rc }) => rc === "kernel_bypass")?.what).toContainEqual(
      "a?canary?reached?10.9.0.2:14055?over?tcp",
    );
    await becomes("200");
    // It could try all there is to try, all the while.
    expect(enforcer.said.filter(({ event }) => event === "canary_limited")).toEqual([]);
    canary.child.kill("SIGKILL");
    await becomes("kernel_canary_silent");
    listPods(lab);
  });

  test("every alert and every panel asks for what a scrape of this machine holds", async () => {
    const started = enforcer.said.find(({ event }) => event === "enforcer_started");
    const ports = [4091, 4093, Number(started?.metrics)];
    const pages: string[] = [];
    for (const port of ports) pages.push(await page("metrics", port));
    const scrape = new Scrape(pages.join("\n"));
    const queries = monitoringQueries();
    expect(queries.length).toBeGreaterThan(30);
    expect(queries.filter(({ query }) => scrape.lacks(query).length > 0)).toEqual([]);
    // It would say so.
    expect(
      scrape.lacks('rate(altrace_open[5m]) + altrace_decisions_total{stage="no"} > 0'),
    ).toEqual(["altrace_open", "stage=no"]);
    expect(scrape.lacks("sum by (colour) (altrace_nothing)")).toEqual([
      "altrace_nothing",
      "colour",
    ]);
    expect(() => scrape.lacks("sum(altrace_open")).toThrow("not understood");
  });

  test("lifecycle: a node that dies and is started again refuses no connection meanwhile", async () => {
    const clients = lab.speak("a2", ["python3", `${import.meta.dirname}/clients.py`, "198.18.5.5"]);
    const ended = () => clients.said.length;
    await waitUntil("clients", () => ended() > 10);
    await tunnelled();
    const [readyBefore, cutBefore] = [ready(), cut()];
    expect(lab.signal("node", { uid: 4737, word: "altrace.js" }, "SIGKILL")).toBe(1);
    await waitUntil(
      () => `the next one: ${tail(altrace)}`,
      () => ready() > readyBefore,
    );
    const before = ended();
    await waitUntil("clients to be served again", () => ended() > before + 10);
    clients.child.stdin?.end();
    await clients.exit;
    expect(clients.said.filter(({ refused }) => refused !== undefined)).toEqual([]);
    // What was open died with the process; what comes next is judged as before.
    await waitUntil("the tunnel to be cut", () => cut() > cutBefore);
    await tunnelled();
    expect((await outside()).connections).toMatchObject({ [EVIL]: 0 });
  });

  test("lifecycle: one that is replaced serves what is new until its drain ends, and nobody fails", async () => {
    const proxies = () => lab.running("node", { uid: 4737, word: "altrace.js" }).length;
    await tunnelled();
    const answers = { answer: expect.stringMatching(/^HTTP/) };
    const [readyBefore, cutBefore] = [ready(), cut()];
    const script = `${import.meta.dirname}/served.py`;
    const clients = lab.speak("a2", ["python3", script, "198.18.5.5", FILES]);
    const more = async (what: string, count: number) => {
      const before = clients.said.length;
      await waitUntil(
        () => `${what}: ${tail(clients)}; ${tail(altrace)}`,
        () => clients.said.length > before + count,
      );
    };
    await more("clients", 10);
    expect(lab.signal("node", { uid: 0, word: "altrace-launcher\0--port" }, "SIGHUP")).toBe(1);
    await waitUntil("the next one to be prepared, and this one to be told", () =>
      JSON.stringify(altrace.said).includes("another process waits"),
    );
    expect(proxies()).toBe(2);
    // What is new does not wait for what is open, which goes on. Twice as many as there are at once.
    await more("those that come while the long one stays", 4);
    expect(await acts({ through: FILES })).toMatchObject(answers);
    expect([cut(), ready()]).toEqual([cutBefore, readyBefore]);
    await waitUntil("the drain to end", () => cut() > cutBefore);
    await waitUntil(
      () => `the next one: ${tail(altrace)}`,
      () => ready() > readyBefore && proxies() === 1,
    );
    await more("those that come after", 10);
    clients.child.stdin?.end();
    await clients.exit;
    expect(clients.said.filter(({ served }) => served === undefined)).toEqual([]);
    const waited = clients.said.map(({ served }) => Number(served));
    console.log(
      `a node replaced: of ${waited.length} one waited ${Math.max(...waited)} ms at most`,
    );
    expect((await outside()).connections).toMatchObject({ [EVIL]: 0 });
  });

  test.each(["written down by the enforcer", "lost with the power, and known to the node alone"])(
    "reboot: a kill stands in the kernel and at the node, %s, until it is revived",
    async (how) => {
      const scope = "agent/research/worker-1";
      const file = join(lab.folder, "state", "killed.json");
      const isWritten = () => existsSync(file) && readFileSync(file, "utf8").includes(scope);
      const isClosed = () =>
        lab.run("node", "nft list set inet altrace killed4").includes(LAB.a1[0]);
      await cli("kill", scope, "--wait");
      await waitUntil("the kill to be written down", isWritten);
      await lab.reboot();
      const isKept = how.startsWith("written");
      if (!isKept) rmSync(file);
      const certificates = await openOutside();
      enforcer = await startEnforcer(lab, { ALTRACE_CANARY_MS: "500" });
      await waitUntil("the pods to be known", () =>
        lab.run("node", "nft list set inet altrace assigned4").includes(LAB.a1[0]),
      );
      // Before there is a node that could say so.
      expect(isClosed()).toBe(isKept);
      altrace = startNode(lab, certificates);
      const again = await said(altrace, (one) => one.ready === true);
      await waitUntil("the gate to be closed", isClosed);
      agent = await startAgent(lab, "a1");
      const refused = { code: "ECONNREFUSED" };
      expect(await acts({ tunnel: FILES, at: OUTSIDE[FILES] })).toMatchObject(refused);
      expect((await outside()).connections).toMatchObject({ [FILES]: 0, [EVIL]: 0 });
      expect(again.keys).toEqual(keys);
      await cli("revive", scope, "--wait");
      expect(isClosed()).toBe(false);
      await tunnelled();
    },
  );
});

type Stranger = Readonly<Record<"pod" | "tries" | "firstAtMs" | "lastAtMs", string>> &
  Readonly<Record<"hosts" | "doors" | "reasons", string[]>>;
type Refused = { readonly rc?: string; readonly act?: { readonly orig?: string } };
type RecordSeen = { readonly act?: { readonly model?: string }; readonly dec?: string };
type Acked = Readonly<Record<"enforcedNs" | "gatedNs" | "closedNs" | "sweptNs", string>> &
  Readonly<Record<"closedCount" | "sweptCount", number>>;

async function said(by: Speaker, is: (one: Said) => boolean): Promise<Said> {
  return waitUntil(
    () => `a word of ${JSON.stringify(by.said)}`,
    () => {
      if (by.child.exitCode !== null) throw new Error(`it ended: ${JSON.stringify(by.said)}`);
      return by.said.find(is);
    },
  );
}

function tail(by: Speaker): string {
  return JSON.stringify(by.said.slice(-10));
}

function homeOf(lab: KernelLab): string {
  return join(lab.folder, "home");
}

/** `altrace up` behind the launcher, as the user that the manifests give it. */
function startNode(lab: KernelLab, certificates: readonly string[]): Speaker {
  const home = homeOf(lab);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  chownSync(home, 4737, 4737);
  const file = (name: string, text: string): string => {
    const path = join(lab.folder, name);
    writeFileSync(path, text);
    chmodSync(path, 0o644);
    return path;
  };
  const hosts = Object.entries(OUTSIDE).map(([name, address]) => `${address} ${name}\n`);
  const { socket, pods } = gateFiles(lab);
  return lab.launch("node", {
    flags: ["--port", "14001", "--uid", "4737", "--gid", "4737", "--early"],
    capabilities: LAUNCHER_CAPABILITIES,
    script: "cli/altrace.js",
    args: ["up", "--json", "--home", home, "--policy", file("policy.yaml", policy())],
    files: { "/etc/hosts": file("hosts", `127.0.0.1 localhost\n${hosts.join("")}`) },
    env: {
      ...PROVIDER_KEYS,
      NODE_EXTRA_CA_CERTS: file("far.pem", certificates.join("")),
      ALTRACE_PODS_FILE: pods,
      ALTRACE_GATE_SOCKET: socket,
      ALTRACE_DNS_HOSTS: "0.0.0.0,::",
      ALTRACE_TUNNEL_RANGES: "10.9.0.0/24",
      ALTRACE_DRAIN_MS: "3000",
      ALTRACE_OUTSIDE_WITNESSES: file("witnesses", deafWitness()),
    },
  });
}

/** Somebody outside of the mesh who answers nothing: how long logs wait for it is measured all the same. */
function deafWitness(): string {
  const signer = twinKeys(twinRandom(1)).loadOrCreate("witness");
  const key = encodeVkey(witnessKey({ mesh: "other", replicaId: "deaf", signer }));
  return `witness deaf ${key} http://127.0.0.1:9\nquorum none\n`;
}

/**
 * A program in a pod, with an environment that says nothing of us. That the mesh's authority is trusted is
 * the work of the component `inspect-ca`, which sets this variable.
 */
async function startAgent(lab: KernelLab, pod: "a1" | "a2"): Promise<Speaker> {
  const servers = join(lab.folder, "resolv.conf");
  writeFileSync(servers, "nameserver 10.96.0.10\n");
  const trust = `NODE_EXTRA_CA_CERTS=${join(homeOf(lab), "inspection-root.pem")}`;
  const agent = lab.speak(pod, [
    ...["unshare", "-m", "sh", "-c", mounting({ "/etc/resolv.conf": servers }), "sh"],
    ...["env", "-i", trust, NODE, `${import.meta.dirname}/agent.ts`],
  ]);
  await said(agent, ({ ready }) => ready === true);
  return agent;
}

function policy(): string {
  return `format: 1
providers:
  openai:
    dialect: openai
    base_url: https://${PROVIDER}
    credential: openai
    region: US
    clearance: confidential
models: { openai/gpt-5-mini: {} }
teams:
  research:
    budget: { usd: { day: "1000.00" } }
    defaults:
      budget: { usd: { day: "100.00" } }
      models: [openai/gpt-5-mini]
      hosts: [${FILES}]
      max_output_tokens_default: 1024
    agents: { worker-1: {}, worker-2: {} }
ladder: { points: { refusal: 0 } }
overrun_limit_usd: "100.00"
`;
}
