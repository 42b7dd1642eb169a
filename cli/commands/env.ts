import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getCACertificates } from "node:tls";
import { ROOT_CERTIFICATE } from "../../adapters/inspection-root.ts";
import { parseAgentId } from "../../proto/ids.ts";
import { type CommandContext, CommandError } from "../command-context.ts";

/** What `altrace up` leaves in HOME/demo for its own demo agents, mode 0600. */
export type DemoFacts = {
  readonly gateway: string;
  /** Absent in what an earlier version left. */
  readonly forward?: string;
  readonly keys: Readonly<Record<string, string>>;
  /** The policy that `altrace up` applied last, hexadecimal. */
  readonly policySha256?: string;
};

export const DEMO_FILE = "demo.json";

export type EnvOptions = { readonly proxy?: boolean };

/**
 * `altrace env <agent>`: shell lines for `eval` that point an agent's SDKs at the gateway, or with
 * `--proxy` everything it runs at the forward proxy, with what it has to trust there.
 */
export function env(context: CommandContext, agentId: string, options: EnvOptions = {}): void {
  if (parseAgentId(agentId) === undefined) {
    throw new CommandError(`${agentId}: expected team/agent`, 2);
  }
  const facts = demoFacts(context.home);
  const { gateway, keys } = facts;
  const key = keys[agentId];
  if (key === undefined) {
    const known = Object.keys(keys).join(", ");
    throw new CommandError(`${agentId}: no demo key; there are keys for ${known}`);
  }
  const variables = options.proxy
    ? proxyVariables(context.home, facts, { agentId, key })
    : baseUrlVariables(gateway, key);
  context.output.result(variables, () => {
    for (const [name, value] of Object.entries(variables)) {
      context.output.line(`export ${name}='${value}'`);
    }
  });
}

function baseUrlVariables(gateway: string, key: string): Readonly<Record<string, string>> {
  return {
    OPENAI_BASE_URL: `${gateway}/v1`,
    OPENAI_API_KEY: key,
    ANTHROPIC_BASE_URL: gateway,
    ANTHROPIC_API_KEY: key,
    GEMINI_API_BASE: gateway,
    // The name that Google's own SDK reads.
    GOOGLE_GEMINI_BASE_URL: gateway,
    GEMINI_API_KEY: key,
  };
}

const BUNDLE_FILE = "ca-bundle.pem";

function proxyVariables(
  home: string,
  { forward }: DemoFacts,
  { agentId, key }: { readonly agentId: string; readonly key: string },
): Readonly<Record<string, string>> {
  if (forward === undefined) throw new CommandError("start `altrace up` again: no forward proxy");
  const root = join(home, ROOT_CERTIFICATE);
  // Most programs take one file in place of the machine's own, so it holds those as well.
  const bundle = join(home, "demo", BUNDLE_FILE);
  const trusted = [...getCACertificates("default"), readFileSync(root, "utf8")];
  writeFileSync(bundle, trusted.map((one) => `${one.trim()}\n`).join(""), { mode: 0o644 });
  const { host } = new URL(forward);
  const proxy = `http://${encodeURIComponent(agentId)}:${key}@${host}`;
  return {
    HTTPS_PROXY: proxy,
    HTTP_PROXY: proxy,
    // curl reads this one in lower case alone.
    http_proxy: proxy,
    NO_PROXY: "localhost,127.0.0.1,::1",
    OPENAI_API_KEY: key,
    ANTHROPIC_API_KEY: key,
    GEMINI_API_KEY: key,
    NODE_USE_ENV_PROXY: "1",
    NODE_EXTRA_CA_CERTS: root,
    SSL_CERT_FILE: bundle,
    REQUESTS_CA_BUNDLE: bundle,
    CURL_CA_BUNDLE: bundle,
    GIT_SSL_CAINFO: bundle,
  };
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
