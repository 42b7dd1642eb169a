import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../adapters/system-clock.ts";
import { openTurnPipe } from "../../adapters/turn-pipe.ts";
import { type FlowEnds, flowNote } from "../../node/kernel/flow-note.ts";
import { gatePipes } from "../../node/kernel/gate-pipes.ts";
import { gateTable } from "../../node/kernel/gate-table.ts";
import { GatePipe } from "../../node/mesh/gate-pipe.ts";
import { KernelLab, kernelUnavailable, LAB, type Speaker } from "../support/kernel-lab.ts";
import { E2E_TIMEOUTS } from "../support/run-altrace.ts";
import { waitUntil } from "../support/wait-until.ts";

vi.setConfig(E2E_TIMEOUTS);

const unavailable = kernelUnavailable();
const AGENT = "agent/research/worker-1";
const PORT = 7000;
const ETIME = "62";
const HOUR_NS = 3_600_000_000_000n;
/** Where the pods find the machine. */
const MACHINE = { 4: LAB.node4, 6: LAB.node6 } as const;

/** Keeps whatever connects, and says who did. Closes what came from a port that it is given. */
const SERVER = `
import json, socket, sys, threading
def serve(family, any):
    s = socket.create_server((any, ${PORT}), family=family)
    print(json.dumps({"listens": any}), flush=True)
    while True:
        c, who = s.accept()
        held[who[1]] = c
        c.send(b"held")
        print(json.dumps({"peer": who[0], "port": who[1]}), flush=True)
held = {}
for of in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    threading.Thread(target=serve, args=of, daemon=True).start()
for line in sys.stdin:
    c = held.pop(int(line))
    c.recv(100)
    c.close()
`;

/** More than the kernel is told to end at once. */
const CROWD_SIZE = 20;
/** Holds so many connections until all of them have ended, and says how many were reset. */
const CROWD = `
import json, socket, sys
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(${CROWD_SIZE})]
for c in held: c.recv(100)
print(json.dumps({"held": len(held)}), flush=True)
reset = 0
for c in held:
    try: c.recv(100)
    except ConnectionResetError: reset += 1
print(json.dumps({"reset": reset}), flush=True)
`;

/** Laid before the helper's sources: makes of whatever ends the first socket that it would end a request of no kind. */
const SPARES_ONE = `
#define _GNU_SOURCE
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
static inline ssize_t send_but_one(int fd, const void *bytes, size_t count, int flags) {
  static unsigned spared[2];
  for (size_t at = 0; at < count;) {
    struct nlmsghdr *head = (void *)((char *)bytes + at);
    struct inet_diag_req_v2 *body = NLMSG_DATA(head);
    at += NLMSG_ALIGN(head->nlmsg_len);
    if (head->nlmsg_type != 21) continue;
    if (!spared[0]) memcpy(spared, body->id.idiag_cookie, sizeof spared);
    if (!memcmp(spared, body->id.idiag_cookie, sizeof spared)) head->nlmsg_type = 99;
  }
  return send(fd, bytes, count, flags);
}
#define send send_but_one
`;
const EINVAL = "22";

describe.skipIf(unavailable !== undefined)("the gate's helper", () => {
  let lab: KernelLab;
  let server: Speaker;
  let pipe: GatePipe;
  let notes: number;

  beforeAll(async () => {
    lab = new KernelLab();
    lab.run("node", "nft -f -", "table inet altrace {\nset killed4 { type ipv4_addr; }\n}\n");
    server = lab.speak("node", ["python3", "-c", SERVER]);
    const { ask, say, flows } = pipes();
    const helper = lab.speak("node", [lab.gateHelper(), ask, say, flows, "0"]);
    // No list that it makes by itself has the agent: what it ends it was told of.
    const scopes = new Map<string, readonly string[]>([
      [AGENT, LAB.a1],
      ["global", ["192.0.2.1"]],
    ]);
    helper.child.stdin?.write(gateTable(scopes));
    await waitUntil("the helper", () => helper.said.some(({ text }) => text === "ready"));
    notes = openSync(flows, constants.O_WRONLY | constants.O_NONBLOCK);
    pipe = new GatePipe(systemClock, () => openTurnPipe(ask, say));
    await waitUntil("the server", () => server.said.length === 2);
    await waitUntil("its list of scopes", () => {
      pipe.open();
      return pipe.kill("global");
    });
  });
  afterAll(() => {
    pipe?.close();
    if (notes !== undefined) closeSync(notes);
    lab?.[Symbol.dispose]();
  });

  const pipes = () => gatePipes(join(lab.folder, "gate"));

  type Flow = { readonly client: Speaker; readonly ends: FlowEnds };

  const flow = async (from: "a1" | "a2", family: 4 | 6 = 4): Promise<Flow> => {
    const before = server.said.length;
    const script = `${import.meta.dirname}/flow.py`;
    const to = MACHINE[family];
    const client = lab.speak(from, ["python3", script, to, String(PORT), "HELLO"]);
    const word = () => JSON.stringify([client.said, server.said]);
    await waitUntil(word, () => client.said.some(({ connected }) => connected === "held"));
    const peer = await waitUntil(word, () => server.said[before]);
    client.child.stdin?.write("wait\n");
    const [remoteAddress, remotePort] = [String(peer.peer), Number(peer.port)];
    return { client, ends: { localAddress: to, localPort: PORT, remoteAddress, remotePort } };
  };
  const tell = (ends: FlowEnds) => writeSync(notes, flowNote(ends) as Uint8Array);
  const endOf = ({ client }: Flow) => client.said.find(({ ended }) => ended !== undefined)?.ended;

  test("ends what it was told of and has not listed, and of that the agent's own alone", async () => {
    const told = [await flow("a1"), await flow("a1", 6)];
    const untold = await flow("a1");
    const neighbour = await flow("a2");
    // In its own words nobody listens there, and what stands there is another's.
    const [{ ends }] = told as [Flow];
    const wrong = [
      { ...ends, remotePort: 1 },
      { ...ends, remoteAddress: "192.0.2.9" },
      neighbour.ends,
    ];
    await waitUntil(
      () => `both to end: ${JSON.stringify(told.map(({ client }) => client.said))}`,
      () => {
        // A list that it makes in between takes what it was told as known.
        for (const one of [...wrong, ...told.map((flow) => flow.ends)]) tell(one);
        expect(pipe.end(AGENT)).toBeDefined();
        return told.every((one) => endOf(one) !== undefined);
      },
    );
    expect(told.map(endOf)).toEqual(["ConnectionResetError", "ConnectionResetError"]);
    for (const { client } of [untold, neighbour]) client.child.stdin?.write("send\n");
    const sentOf = ({ client }: Flow) => client.said.find(({ sent }) => sent !== undefined)?.sent;
    const word = () => JSON.stringify([untold.client.said, neighbour.client.said]);
    for (const one of [untold, neighbour])
      expect(await waitUntil(word, () => sentOf(one) !== undefined && [sentOf(one)])).toEqual([
        true,
      ]);
    // Whoever listens was never meant.
    await flow("a1");
    await flow("a1", 6);
    expect([untold, neighbour].map(endOf)).toEqual([undefined, undefined]);
  });

  test("ends however many the agent has, and counts each of them once", async () => {
    const before = server.said.length;
    const crowd = lab.speak("a1", ["python3", "-c", CROWD, MACHINE[4], String(PORT)]);
    const word = () => JSON.stringify([crowd.said, server.said.length]);
    await waitUntil(word, () => crowd.said.length > 0 && server.said.length >= before + CROWD_SIZE);
    const ports = server.said.slice(before).map(({ port }) => Number(port));
    const [remoteAddress = ""] = LAB.a1;
    const ends = { localAddress: MACHINE[4], localPort: PORT, remoteAddress };
    const kills: bigint[] = [];
    await waitUntil(word, () => {
      for (const remotePort of ports) tell({ ...ends, remotePort });
      kills.push(pipe.end(AGENT) as bigint);
      return crowd.said.length > 1;
    });
    expect(crowd.said[1]).toEqual({ reset: CROWD_SIZE });
    const counts = await waitUntil("what came of each kill", () => {
      const all = kills.map((no) => pipe.swept(no)?.count);
      return all.includes(undefined) ? undefined : (all as number[]);
    });
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(CROWD_SIZE);
  });

  test("ends all others where the kernel does not end one of them, and tells of that", async () => {
    const before = server.said.length;
    const crowd = lab.speak("a2", ["python3", "-c", CROWD, MACHINE[4], String(PORT)]);
    const word = () => JSON.stringify([crowd.said, server.said.length]);
    await waitUntil(word, () => crowd.said.length > 0 && server.said.length >= before + CROWD_SIZE);
    const held = lab.run("node", `ss -Htn dst ${LAB.a2[0]}`).trim().split("\n").length;
    expect(held).toBeGreaterThanOrEqual(CROWD_SIZE);
    const sources = join(import.meta.dirname, "../../node/kernel/gate-helper");
    const [shown, program] = [join(lab.folder, "spares-one.h"), join(lab.folder, "spares-one")];
    writeFileSync(shown, SPARES_ONE);
    const how = [`CFLAGS=-O2 -include ${shown}`, `OUT=${program}`];
    execFileSync("make", ["-s", "-C", sources, ...how]);
    const { ask, say, flows } = gatePipes(join(lab.folder, "spared"));
    const helper = lab.speak("node", [program, ask, say, flows, "0"]);
    const scopes = ["agent/research/worker-2", "global"];
    helper.child.stdin?.write(gateTable(new Map(scopes.map((scope) => [scope, LAB.a2]))));
    await waitUntil("the helper", () => helper.said.some(({ text }) => text === "ready"));
    const own = new GatePipe(systemClock, () => openTurnPipe(ask, say));
    try {
      const swept = await waitUntil("a kill that it is through with", async () => {
        const no = own.end("agent/research/worker-2") as bigint;
        await waitUntil("what came of it", () => own.swept(no) ?? helper.child.exitCode !== null);
        return own.swept(no);
      });
      expect(swept).toMatchObject({ errno: EINVAL, count: held - 1 });
    } finally {
      own.close();
      helper.child.stdin?.end();
      crowd.child.kill("SIGKILL");
      await Promise.all([helper.exit, crowd.exit]);
    }
  });

  test("is woken by nobody who tells it of a connection, and hears of it with the next kill", async () => {
    const { ask, say, flows } = gatePipes(join(lab.folder, "quiet"));
    const helper = lab.speak("node", [lab.gateHelper(), ask, say, flows, "0"]);
    // Whom a kill of everybody would hit it is not told: so it keeps no list, which it would be woken for.
    helper.child.stdin?.write(gateTable(new Map([[AGENT, LAB.a1]])));
    await waitUntil("the helper", () => helper.said.some(({ text }) => text === "ready"));
    const own = new GatePipe(systemClock, () => openTurnPipe(ask, say));
    const told = openSync(flows, constants.O_RDWR | constants.O_NONBLOCK);
    /** Takes what lies in the pipe. */
    const lying = (): number => {
      try {
        return readSync(told, Buffer.alloc(40 * 64)) / 40;
      } catch {
        return 0;
      }
    };
    const note = flowNote({
      ...{ localAddress: LAB.node4, localPort: PORT },
      ...{ remoteAddress: LAB.a1[0], remotePort: 1 },
    }) as Uint8Array;
    try {
      for (let i = 0; i < 3; i++) writeSync(told, note);
      // It has been through all that woke it once it has an answer for who asks: of a scope that it does not know.
      await waitUntil("its answer", () => {
        own.open();
        own.kill("agent/research/nobody");
        return readFileSync(say, "latin1").includes(" 2 ");
      });
      expect(lying()).toBe(3);
      // On a busy machine a kill may be too late to be done anything for.
      await waitUntil("a kill before which it hears", async () => {
        for (let i = 0; i < 3; i++) writeSync(told, note);
        const no = own.end(AGENT) as bigint;
        await waitUntil("its end", () => own.swept(no));
        return lying() === 0;
      });
    } finally {
      own.close();
      closeSync(told);
      helper.child.stdin?.end();
      await helper.exit;
    }
  });

  test("is through with a kill in its own time, whatever it is told meanwhile and until when", async () => {
    const { ask, say, flows } = pipes();
    const nowhere = { localAddress: LAB.node4, localPort: 1, remotePort: 1 };
    const [remoteAddress = ""] = LAB.a1;
    const note = Buffer.from(flowNote({ ...nowhere, remoteAddress }) as Uint8Array).toString("hex");
    const feed = `
import sys
notes = bytes.fromhex(sys.argv[2]) * 100
with open(sys.argv[1], "wb", 0) as to:
    to.write(notes)
    print('{"fed": 1}', flush=True)
    while True: to.write(notes)
`;
    const python = ["nice", "-n", "-15", "python3", "-c"];
    // As many as keep the pipe full, or there is a moment in which all has been looked for.
    const feeding = [1, 2, 3].map(() => lab.speak("node", [...python, feed, flows, note]));
    await waitUntil("the first notes", () => feeding.every(({ said }) => said.length > 0));
    let no = 0n;
    await waitUntil("one that is left to the enforcer", () => {
      const errno = new RegExp(`\\b${no} 0 (\\d+) `).exec(readFileSync(say, "latin1"))?.[1];
      if (errno === ETIME) return true;
      // Where nothing was told for a moment it was through before that.
      if (errno === undefined && no !== 0n) return false;
      no = systemClock.monoNs();
      writeFileSync(ask, `= ${no} ${no + HOUR_NS} ${AGENT}\n`);
      return false;
    });
    for (const { child } of feeding) child.kill("SIGKILL");
    await Promise.all(feeding.map(({ exit }) => exit));
  });

  test("leaves alone what the machine has closed: that has no owner who could be told", async () => {
    const closed = await flow("a1");
    server.child.stdin?.write(`${closed.ends.remotePort}\n`);
    await waitUntil("its end", () => endOf(closed) === "eof");
    closed.client.child.stdin?.end();
    const ofIt = `ss -Htan dport = :${closed.ends.remotePort}`;
    await waitUntil("its rest", () => lab.run("node", ofIt).includes("TIME-WAIT"));
    tell(closed.ends);
    const no = pipe.end(AGENT) as bigint;
    const swept = await waitUntil("the sweep", () => pipe.swept(no));
    expect(swept).toMatchObject({ errno: "0", count: 0 });
  });
});
