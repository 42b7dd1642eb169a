import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cgroupRoot } from "../support/cgroup-root.ts";
import { kernelUnavailable } from "../support/kernel-lab.ts";

const NOTES = join(import.meta.dirname, "..", "..", "deploy", "ebpf-notes");
const ATTACHED = ["connect4", "connect6", "sendmsg4", "sendmsg6", "sock_create", "egress"];

/** The program is an option, so where it cannot be tried the walls stand no less: told, and skipped. */
function unavailable(): string | undefined {
  const why = kernelUnavailable();
  if (why !== undefined) return why;
  const missing = ["clang", "bpftool", "make"].filter((program) => {
    return spawnSync(program, ["--version"]).error !== undefined;
  });
  if (missing.length > 0)
    return `no ${missing.join(", ")}: apt-get install clang bpftool libbpf-dev make`;
  if (cgroupRoot() === undefined) return "no control groups of version 2 are mounted";
  return undefined;
}

const why = unavailable();
if (why !== undefined) console.log(`SKIPPED, the eBPF program: ${why}`);

describe.skipIf(why !== undefined)("bpf: the eBPF program", () => {
  const name = `alt-${process.pid}`;
  let folder: string;
  let cgroup: string;
  let refused: string | undefined;
  let server: Server;
  let port: number;
  const accepted: Socket[] = [];

  const bpftool = (...words: readonly string[]) =>
    execFileSync("bpftool", words, { encoding: "utf8", stdio: "pipe" });
  const map = (what: "update" | "delete", of: string, key: Buffer) =>
    bpftool(
      ...["map", what, "pinned", join(folder, "bpf", "maps", of), "key", "hex"],
      ...[...key].map((byte) => byte.toString(16).padStart(2, "0")),
      ...(what === "update" ? ["value", "hex", "01"] : []),
    );
  /** The number by which the kernel knows the group. */
  const groupKey = () => {
    const key = Buffer.alloc(8);
    key.writeBigUInt64LE(statSync(cgroup, { bigint: true }).ino);
    return key;
  };
  /** Runs Python in the group, and says what it printed or the name of its error. */
  const inGroup = (program: string, group = cgroup) => {
    const shell = `echo $$ > ${group}/cgroup.procs && exec python3 -c '${program}'`;
    const { stdout, stderr } = spawnSync("sh", ["-c", shell], { encoding: "utf8" });
    return stdout.trim() || (/(\w+Error)/.exec(stderr)?.[1] ?? stderr);
  };
  const dial = (group?: string) =>
    inGroup(
      `import socket;s=socket.create_connection(("127.0.0.1",${port}));s.send(b"x");print("ok")`,
      group,
    );

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "alt-bpf-"));
    execFileSync("make", ["-s", "-C", NOTES, `OUT=${folder}`], { stdio: "pipe" });
    mkdirSync(join(folder, "bpf"));
    execFileSync("mount", ["-t", "bpf", "bpf", join(folder, "bpf")]);
    cgroup = join(cgroupRoot() as string, name);
    mkdirSync(cgroup);
    mkdirSync(`${cgroup}-other`);
    const program = join(folder, "agent.bpf.o");
    const [at, maps] = [join(folder, "bpf", "programs"), join(folder, "bpf", "maps")];
    const loaded = spawnSync("bpftool", ["prog", "loadall", program, at, "pinmaps", maps], {
      encoding: "utf8",
    });
    if (loaded.status !== 0) refused = loaded.stderr.trim().split("\n").at(-1);
    if (refused !== undefined) console.log(`SKIPPED, the eBPF program: not loaded: ${refused}`);
    else
      for (const one of ATTACHED) bpftool("cgroup", "attach", cgroup, one, "pinned", join(at, one));
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
    for (const group of [cgroup, `${cgroup}-other`]) if (group) rmdirSync(group);
    spawnSync("umount", [join(folder, "bpf")]);
    rmSync(folder, { recursive: true, force: true });
  });

  test("refuses a killed group at once, in each family, and its neighbour not at all", (context) => {
    if (refused !== undefined) context.skip();
    expect(dial()).toBe("ok");
    map("update", "killed", groupKey());
    expect(dial()).toBe("PermissionError");
    expect(inGroup(`import socket;socket.create_connection(("::1",${port}))`)).toBe(
      "PermissionError",
    );
    const datagram = (family: string, host: string) =>
      inGroup(`import socket;socket.socket(socket.${family},2).sendto(b"x",("${host}",9))`);
    expect(datagram("AF_INET", "127.0.0.1")).toBe("PermissionError");
    expect(datagram("AF_INET6", "::1")).toBe("PermissionError");
    expect(dial(`${cgroup}-other`)).toBe("ok");
    map("delete", "killed", groupKey());
    expect(dial()).toBe("ok");
  });

  test("lets no program of the group make raw sockets, and does not see packet sockets", (context) => {
    if (refused !== undefined) context.skip();
    expect(inGroup("import socket;socket.socket(2,3,1)")).toBe("PermissionError");
    // Which is why the rules of nftables, and not this, are the wall.
    expect(inGroup('import socket;socket.socket(17,3);print("made")')).toBe("made");
  });

  test("counts what the group has sent", (context) => {
    if (refused !== undefined) context.skip();
    const rows = JSON.parse(
      bpftool("-j", "map", "dump", "pinned", join(folder, "bpf", "maps", "sent")),
    );
    const mine = rows.find(({ key }: { key: string[] }) =>
      Buffer.from(key.map(Number)).equals(groupKey()),
    );
    expect(mine?.formatted?.value?.packets).toBeGreaterThan(3);
  });

  test("ends open connections to an address when it is read", (context) => {
    if (refused !== undefined) context.skip();
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
    expect(inGroup(client)).toMatch(/^Connection(Aborted|Reset)Error$/);
  });
});
