import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  checkSocketPath,
  holdInstance,
  type InstanceInput,
  SOCKET_PATH_BYTES_MAX,
} from "../../adapters/instance-lock.ts";
import { openFilesMax } from "../../adapters/open-files.ts";
import { freePort } from "../../bench/harness/free-ports.ts";

function tempHome(): string {
  const home = mkdtempSync(join(tmpdir(), "altrace-lock-"));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

async function hold(input: Partial<InstanceInput> & { home: string }) {
  const lock = await holdInstance({ socketPaths: [], ports: [], ...input });
  onTestFinished(() => lock.release());
  return lock;
}

async function listening(where: Parameters<Server["listen"]>[0]): Promise<Server> {
  const server = createServer();
  onTestFinished(() => void server.close());
  server.listen(where);
  await once(server, "listening");
  return server;
}

const portOf = (server: Server) => (server.address() as { port: number }).port;

/** Another process, and the first line it says. */
async function otherProcess(...args: string[]): Promise<{ child: ChildProcess; said: string }> {
  const script = join(import.meta.dirname, "hold-instance.ts");
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  // Gone before its HOME is: a new folder may get the same inode.
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });
  const [chunk] = await once(child.stdout, "data");
  return { child, said: String(chunk).trim() };
}

describe("a HOME", () => {
  test("is served by one process, which the second is told of", async () => {
    const home = tempHome();
    const { child, said } = await otherProcess(home, "0");
    expect(said).toBe("held");
    await expect(hold({ home })).rejects.toThrow(
      `home_in_use: ${home} is in use by process ${child.pid}`,
    );
  });

  test("is free again the moment its process is killed", async () => {
    const home = tempHome();
    const { child } = await otherProcess(home, "0");
    child.kill("SIGKILL");
    await once(child, "exit");
    await hold({ home });
  });

  test("is one HOME under two paths", async () => {
    const home = tempHome();
    const link = `${home}-link`;
    symlinkSync(home, link);
    onTestFinished(() => rmSync(link));
    await hold({ home });
    await expect(hold({ home: link })).rejects.toMatchObject({ code: "home_in_use" });
  });

  test("does not keep another HOME from being served", async () => {
    await hold({ home: tempHome() });
    await hold({ home: tempHome() });
  });

  test("that is given back can be held again", async () => {
    const home = tempHome();
    const lock = await hold({ home });
    await lock.release();
    await hold({ home });
  });
});

describe("a port", () => {
  test("is served by one process, though both would share it", async () => {
    const port = await freePort();
    const { said } = await otherProcess(tempHome(), String(port));
    expect(said).toBe("held");
    const ports = [{ host: "127.0.0.1", port }];
    await expect(hold({ home: tempHome(), ports })).rejects.toMatchObject({ code: "port_locked" });
  });

  test("that a program shares already is not shared with it", async () => {
    const server = await listening({ port: 0, host: "127.0.0.1", reusePort: true });
    const ports = [{ host: "127.0.0.1", port: portOf(server) }];
    const home = tempHome();
    await expect(hold({ home, ports })).rejects.toMatchObject({ code: "port_in_use" });
    // What was taken on the way is given back.
    await hold({ home });
  });

  test("can be listened on, shared among loops, once it is held", async () => {
    const port = await freePort();
    await hold({ home: tempHome(), ports: [{ host: "127.0.0.1", port }] });
    await listening({ port, host: "127.0.0.1", reusePort: true });
    await listening({ port, host: "127.0.0.1", reusePort: true });
  });

  test("0 is any and holds nothing", async () => {
    const ports = [{ host: "127.0.0.1", port: 0 }];
    await hold({ home: tempHome(), ports });
    await hold({ home: tempHome(), ports });
  });
});

describe("a socket file", () => {
  test("that a killed process left behind is removed", async () => {
    const home = tempHome();
    const path = join(home, "a.sock");
    const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    const child = spawn(process.execPath, ["-e", script]);
    await once(child, "exit");
    expect(existsSync(path)).toBe(true);
    await hold({ home, socketPaths: [path] });
    expect(existsSync(path)).toBe(false);
  });

  test("on which somebody answers is left alone", async () => {
    const home = tempHome();
    const path = join(home, "a.sock");
    await listening({ path });
    await expect(hold({ home, socketPaths: [path] })).rejects.toMatchObject({
      code: "socket_in_use",
    });
    expect(existsSync(path)).toBe(true);
  });

  test("on which somebody listens and says nothing is left alone", async () => {
    const home = tempHome();
    const path = join(home, "a.sock");
    const server = await listening({ path });
    server.on("connection", () => {});
    await expect(hold({ home, socketPaths: [path] })).rejects.toMatchObject({
      code: "socket_in_use",
    });
  });

  test("that is no socket is left alone", async () => {
    const home = tempHome();
    const path = join(home, "a.sock");
    writeFileSync(path, "data");
    await hold({ home, socketPaths: [path] });
    expect(existsSync(path)).toBe(true);
  });

  test(`of more than ${SOCKET_PATH_BYTES_MAX} bytes is a fault before anything is taken`, async () => {
    const home = tempHome();
    const path = `/${"é".repeat(SOCKET_PATH_BYTES_MAX / 2)}`;
    checkSocketPath(path.slice(0, -1));
    await expect(hold({ home, socketPaths: [path] })).rejects.toMatchObject({
      code: "socket_path_too_long",
    });
    await hold({ home });
  });
});

test("the limit of open files is the one the shell sees", async () => {
  const child = spawn("sh", ["-c", "ulimit -Sn"], { stdio: ["ignore", "pipe", "inherit"] });
  const [said] = await once(child.stdout, "data");
  const expected = String(said).trim();
  expect(String(openFilesMax()).replace("Infinity", "unlimited")).toBe(expected);
});
