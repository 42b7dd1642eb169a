import { parseAgentId } from "../../proto/ids.ts";
import { readGateQuestion } from "./gate-messages.ts";
import { KernelGate } from "./kernel-gate.ts";
import { netlinkMessage } from "./netlink-message.ts";

/** After so many the engine has compiled what a kill runs through. */
const ROUNDS = 500;

/**
 * Kills and revives an agent that there is not, in a kernel that there is not, before the gate is opened.
 *
 * A kill is rare, so on a machine that was started and left alone the first ones would run as code that
 * nothing has compiled: that took three times as long as the kernel itself.
 */
export function rehearseGate(): void {
  const agent = parseAgentId("rehearsal/one");
  const answer = netlinkMessage({ type: 2, flags: 0, no: 1, body: Buffer.alloc(20) });
  const calls = { request: () => answer };
  const gate = new KernelGate(
    {
      clock: { monoNs: () => 0n, nowMs: () => 0, after: () => () => undefined },
      calls: { netfilter: calls, sockets: calls },
      onScopes: () => undefined,
      keep: () => undefined,
      onSwept: () => undefined,
      onFault: () => undefined,
    },
    [],
  );
  const pod = { uid: "1", namespace: "", name: "one", exempt: false, canary: false };
  gate.setPods([{ ...pod, agent, addresses: ["192.0.2.1", "2001:db8::1"] }]);
  for (let n = 0; n < ROUNDS; n++)
    for (const t of ["kill", "revive"]) {
      const line = JSON.stringify({ t, n, scope: "agent/rehearsal/one" });
      const question = readGateQuestion(JSON.parse(line));
      if (question?.t === "kill") gate.kill(question.scope);
      if (question?.t === "revive") gate.revive(question.scope);
    }
}
