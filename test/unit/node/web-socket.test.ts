import { ProxyAgent, WebSocket } from "undici";
import { describe, expect, onTestFinished, test } from "vitest";
import { setKilled } from "../../../node/table/scope-cells.ts";
import { setPolicyVersion } from "../../../node/table/table.ts";
import { grant, provider } from "../../support/builders.ts";
import { eventually, HOST, sendAndDrain } from "./dataplane/door.ts";
import { selfSigned } from "./dataplane/self-signed.ts";
import { CELLS } from "./loop-world.ts";
import { AGENT, FAR, KEY, proxyAuthorization, tunnelWorld } from "./tunnel-world.ts";
import { webSocketServer } from "./web-socket-server.ts";

/** A client's WebSocket through the forward proxy, once it has been spoken to. */
async function open() {
  const tls = selfSigned(FAR);
  const far = await webSocketServer("hello", { tls });
  const hosts = [`${FAR}:${far.port}`];
  const it = await tunnelWorld({ agents: new Map([[AGENT, grant({ hosts })]]) });
  const dispatcher = new ProxyAgent({
    uri: `http://${HOST}:${it.door.port}`,
    token: proxyAuthorization(),
    requestTls: { ca: tls.cert },
  });
  onTestFinished(() => dispatcher.destroy());
  const client = new WebSocket(`wss://${FAR}:${far.port}/v1/realtime`, { dispatcher });
  const closed = new Promise<number>((resolve) => {
    client.addEventListener("close", ({ code }) => resolve(code));
  });
  const said = new Promise<unknown>((resolve) => {
    client.addEventListener("message", ({ data }) => resolve(data));
  });
  expect(await said).toBe("hello");
  return { ...it, far, client, closed };
}

/** The code of a connection that was broken off, without a word of WebSocket. */
const BROKEN_OFF = 1006;

describe("a WebSocket through the forward proxy", () => {
  test("is a tunnel, and a kill ends both of its legs", async () => {
    const it = await open();
    setKilled(it.world.table, CELLS.agent, true);
    const cut = await it.connections.cutScope("agent", `agent/${AGENT}`);
    expect(cut.count).toBe(1);
    expect(await it.closed).toBe(BROKEN_OFF);
    await eventually(() => it.far.sockets.every(({ destroyed }) => destroyed), "the far leg");
    expect(it.world.decisions.map(({ rc }) => rc)).toEqual(["ok", "killed_agent"]);
  });

  test("is closed by a policy that no longer grants its host", async () => {
    const it = await open();
    const version = it.world.policy.version + 1;
    it.world.policy = { ...it.world.policy, version, agents: new Map([[AGENT, grant()]]) };
    setPolicyVersion(it.world.table, version);
    await it.loop.live.judge(it.loop);
    expect(await it.closed).toBe(BROKEN_OFF);
    await eventually(() => it.world.settlements.length === 1, "settled");
    expect(it.world.settlements[0]).toMatchObject({ rc: "host_not_granted" });
  });

  test("to a provider is refused: nobody could count what it costs", async () => {
    const at = provider();
    const it = await tunnelWorld({ providers: new Map([["openai", at]]) });
    const answer = await sendAndDrain(
      it.door.port,
      `GET http://${at.host}/v1/realtime HTTP/1.1\r\nhost: ${at.host}\r\n` +
        `proxy-authorization: ${proxyAuthorization(AGENT, KEY)}\r\n` +
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" +
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(answer).toContain("x-altrace-reason: upgrade_refused");
  });
});
