import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { hostCommand } from "../../adapters/host-command.ts";
import { EbpfLayer } from "../../node/kernel/ebpf-layer.ts";
import { podCgroupPaths } from "../../node/kernel/pod-cgroup.ts";
import { EBPF_PACKAGES, EBPF_PROGRAMS } from "../setup/kernel-programs.ts";
import { cgroupRoot } from "../support/cgroup-root.ts";
import { kernelUnavailable, pythonItself } from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";

vi.setConfig(E2E_TIMEOUTS);

const NOTES = join(import.meta.dirname, "..", "..", "deploy", "ebpf-notes");
const UID = "0b5e3a52-6b1e-4c0a-9d55-1f0d4d3c2b1a";
const OTHER_UID = "7c1f8d00-0000-4000-8000-1f0d4d3c2b1a";
/** What the component gives the enforcer. */
const RIGHTS = ["--bounding-set", "-all,+net_admin,+bpf", "--inh-caps", "-all"];

/** The program is an option, so where it cannot be tried the walls stand no less: told, and skipped. */
function unavailable(): string | undefined {
  const why = kernelUnavailable();
  if (why !== undefined) return why;
  const missing = EBPF_PROGRAMS.filter((program) => {
    return spawnSync(program, ["--version"]).error !== undefined;
  });
  if (missing.length > 0)
    return `no ${missing.join(", ")}: apt-get install ${EBPF_PACKAGES.join(" ")}`;
  return undefined;
}

const why = unavailable();
if (why !== undefined) console.log(`SKIPPED, the eBPF program: ${why}`);

describe.skipIf(why !== undefined)("bpf: the eBPF program", () => {
  const made: string[] = [];
  const faults: string[] = [];
  let folder: string;
  let layer: EbpfLayer;
  let isLoaded = false;
  let server: Server;
  let port: number;
  const accepted: Socket[] = [];

  /** For a machine that has mounted them nowhere: the groups themselves are the kernel's. */
  const mountedGroups = (): string => {
    const at = join(folder, "groups");
    mkdirSync(at);
    execFileSync("mount", ["-t", "cgroup2", "none", at]);
    return at;
  };
  const bpftool = (...words: readonly string[]) =>
    execFileSync("bpftool", words, { encoding: "utf8", stdio: "pipe" });
  const groupOf = (uid: string) => {
    const path = made.find((one) => one.endsWith(`/pod${uid}`)) as string;
    return { path, id: statSync(path, { bigint: true }).ino };
  };
  const kills = (isKilled: boolean) =>
    layer.sync([
      { uid: UID, isKilled },
      { uid: OTHER_UID, isKilled: false },
    ]);
  /** Runs Python in a container of the pod, and says what it printed or the name of its error. */
  const inPod = (program: string, uid = UID) => {
    const shell = `echo $$ > ${groupOf(uid).path}/c/cgroup.procs && exec ${pythonItself()} -c '${program}'`;
    const { stdout, stderr } = spawnSync("sh", ["-c", shell], { encoding: "utf8" });
    return stdout.trim() || (/(\w+Error)/.exec(stderr)?.[1] ?? stderr);
  };
  const dial = (uid?: string) =>
    inPod(
      `import socket;s=socket.create_connection(("127.0.0.1",${port}));s.send(b"x");print("ok")`,
      uid,
    );

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "alt-bpf-"));
    execFileSync("make", ["-s", "-C", NOTES, `OUT=${folder}`], { stdio: "pipe" });
    mkdirSync(join(folder, "bpf"));
    execFileSync("mount", ["-t", "bpf", "bpf", join(folder, "bpf")]);
    const root = join(cgroupRoot() ?? mountedGroups(), `alt-${process.pid}`);
    for (const uid of [UID, OTHER_UID])
      made.push(join(root, podCgroupPaths(uid).find((one) => !one.includes("slice")) as string));
    for (const path of made) mkdirSync(join(path, "c"), { recursive: true });
    made.push(join(root, "kubepods"), root);
    layer = new EbpfLayer({
      run: (program, args, input) => hostCommand("setpriv", [...RIGHTS, program, ...args], input),
      object: join(folder, "agent.bpf.o"),
      pins: join(folder, "bpf", "altrace"),
      groupOf,
      onFault: (what) => faults.push(what),
    });
    isLoaded = await layer.load();
    if (!isLoaded) console.log(`SKIPPED, the eBPF program: ${faults}`);
    else await kills(false);
    server = createServer((socket) => {
      accepted.push(socket);
      socket.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as { port: number }).port;
  });
  afterAll(() => {
    server?.close();
    for (const socket of accepted) socket.destroy();
    for (const path of made) {
      if (path.includes("/pod")) rmdirSync(join(path, "c"));
      rmdirSync(path);
    }
    for (const name of ["bpf", "groups"]) spawnSync("umount", [join(folder, name)]);
    rmSync(folder, { recursive: true, force: true });
  });

  test("refuses a killed pod at once, in each family, and its neighbour not at all", async (context) => {
    if (!isLoaded) context.skip();
    expect([faults, layer.podCount]).toEqual([[], 2]);
    expect(dial()).toBe("ok");
    await kills(true);
    expect(dial()).toBe("PermissionError");
    expect(inPod(`import socket;socket.create_connection(("::1",${port}))`)).toBe(
      "PermissionError",
    );
    const datagram = (family: string, host: string) =>
      inPod(`import socket;socket.socket(socket.${family},2).sendto(b"x",("${host}",9))`);
    expect(datagram("AF_INET", "127.0.0.1")).toBe("PermissionError");
    expect(datagram("AF_INET6", "::1")).toBe("PermissionError");
    expect(dial(OTHER_UID)).toBe("ok");
    // A new enforcer attaches its own in the place of these, and is told of the kill before it does.
    expect(await layer.load()).toBe(true);
    await kills(true);
    expect(dial()).toBe("PermissionError");
    await kills(false);
    expect(dial()).toBe("ok");
    expect(faults).toEqual([]);
  });

  test("lets no program of a pod make raw sockets, and does not see packet sockets", (context) => {
    if (!isLoaded) context.skip();
    expect(inPod("import socket;socket.socket(2,3,1)")).toBe("PermissionError");
    // Which is why the rules of nftables, and not this, are the wall.
    expect(inPod('import socket;socket.socket(17,3);print("made")')).toBe("made");
  });

  test("counts what a pod has sent", (context) => {
    if (!isLoaded) context.skip();
    const rows = JSON.parse(
      bpftool("-j", "map", "dump", "pinned", join(folder, "bpf", "altrace", "maps", "sent")),
    ) as { formatted: { key: number; values: { value: { packets: number } }[] } }[];
    const mine = rows.find(({ formatted }) => BigInt(formatted.key) === groupOf(UID).id);
    const packets = mine?.formatted.values.reduce((sum, { value }) => sum + value.packets, 0);
    expect(packets).toBeGreaterThan(1);
  });

  test("ends open connections to an address when it is read", (context) => {
    if (!isLoaded) context.skip();
    const pin = join(folder, "bpf", "reap");
    bpftool("iter", "pin", join(folder, "reaper.bpf.o"), pin);
    const known = JSON.parse(bpftool("-j", "map", "show")) as { id: number; name?: string }[];
    const newest = known.filter((one) => one.name === "reaped").at(-1)?.id;
    bpftool("map", "update", "id", String(newest), "key", "127", "0", "0", "9", "value", "1");
    const client = [
      `import socket,time;s=socket.socket();s.bind(("127.0.0.8",0))`,
      `l=socket.socket();l.bind(("127.0.0.9",0));l.listen()`,
      `s.connect(l.getsockname())`,
      `open("${pin}").read()`,
      `s.recv(1)`,
    ].join(";");
    expect(inPod(client)).toMatch(/^Connection(Aborted|Reset)Error$/);
  });
});
