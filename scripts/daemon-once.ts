import { type Altrace, startAltrace } from "../bench/harness/start-altrace.ts";
import type { Check } from "./checks.ts";
import { runCommand } from "./run-command.ts";

const AGENT = "research/worker-1";
const BODY = JSON.stringify({
  model: "gpt-5-mini",
  max_completion_tokens: 64,
  messages: [{ role: "user", content: "Say hello." }],
});

let altrace: Altrace | undefined;

/** The real daemon, once: what a newcomer would do first, step by step. */
export const DAEMON_STEPS: readonly Check[] = [
  {
    name: "altrace up gets ready",
    run: async () => {
      altrace = await startAltrace().catch((error: unknown) => {
        console.log(error);
        return undefined;
      });
      return altrace === undefined ? "it did not" : undefined;
    },
  },
  {
    name: "an agent's request is answered",
    run: withAltrace(async (running) => {
      const answer = await curl(running);
      return answer.startsWith("HTTP/1.1 200 ") ? undefined : answer;
    }),
  },
  {
    name: "a kill is acknowledged by every node",
    run: withAltrace(async (running) => {
      const { code, output } = await running.cli("kill", `agent/${AGENT}`, "--wait");
      return code === 0 ? undefined : `exit ${code}\n${output}`;
    }),
  },
  {
    name: "the killed agent's request is refused, by name",
    run: withAltrace(async (running) => {
      const answer = await curl(running);
      const isRefused = answer.startsWith("HTTP/1.1 403 ") && /killed_agent/.test(answer);
      return isRefused ? undefined : answer;
    }),
  },
  {
    name: "altrace up ends in order",
    run: withAltrace(async (running) => {
      const code = await running.stop();
      await running[Symbol.asyncDispose]();
      return code === 0 ? undefined : `exit ${code}`;
    }),
  },
];

function withAltrace(step: (running: Altrace) => Promise<string | undefined>): Check["run"] {
  return async () => (altrace === undefined ? "it is not running" : step(altrace));
}

/** The status line, headers and body of the answer to one request of the agent. */
async function curl({ ready }: Altrace): Promise<string> {
  const key = ready.keys[AGENT];
  if (key === undefined) return `no key for ${AGENT}`;
  const args = ["-sS", "-i", "-m", "20", `${ready.gateway}/v1/chat/completions`];
  const headers = ["-H", `authorization: Bearer ${key}`, "-H", "content-type: application/json"];
  const { output } = await runCommand("curl", [...args, ...headers, "-d", BODY]);
  return output;
}
