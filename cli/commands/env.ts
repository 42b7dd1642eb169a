import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAgentId } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";

/** What `altrace up` leaves in HOME/demo for its own demo agents, mode 0600. */
export type DemoFacts = {
  readonly gateway: string;
  readonly keys: Readonly<Record<string, string>>;
  /** The policy that `altrace up` applied last, hexadecimal. */
  readonly policySha256?: string;
};

export const DEMO_FILE = "demo.json";

/** `altrace env <agent>`: shell lines that point an agent's SDKs at the gateway, for `eval`. */
export function env(context: CommandContext, agentId: string): void {
  if (parseAgentId(agentId) === undefined) {
    throw new CommandError(`${agentId}: expected team/agent`, 2);
  }
  const { gateway, keys } = demoFacts(context.home);
  const key = keys[agentId];
  if (key === undefined) {
    const known = Object.keys(keys).join(", ");
    throw new CommandError(`${agentId}: no demo key; there are keys for ${known}`);
  }
  const variables = {
    OPENAI_BASE_URL: `${gateway}/v1`,
    OPENAI_API_KEY: key,
    ANTHROPIC_BASE_URL: gateway,
    ANTHROPIC_API_KEY: key,
    GEMINI_API_BASE: gateway,
    // The name that Google's own SDK reads.
    GOOGLE_GEMINI_BASE_URL: gateway,
    GEMINI_API_KEY: key,
  };
  context.output.result(variables, () => {
    for (const [name, value] of Object.entries(variables)) {
      context.output.line(`export ${name}='${value}'`);
    }
  });
}

function demoFacts(home: string): DemoFacts {
  const path = join(home, "demo", DEMO_FILE);
  try {
    return JSON.parse(readFileSync(path, "utf8")) as DemoFacts;
  } catch {
    throw new CommandError(
      `${path}: not readable; only \`altrace up\` keeps keys, elsewhere a key is shown once`,
    );
  }
}
