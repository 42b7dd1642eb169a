import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { contentScanner } from "../../node/content-scanner.ts";
import { credentialsFromEnv } from "../../node/credentials-from-env.ts";
import { renderFinding } from "../../policy/findings.ts";
import { readPolicy } from "../../policy/read-policy.ts";
import { CommandError } from "../command-context.ts";

/** Providers that the demo provider can stand in for, and where they really are. */
const PROVIDER_ORIGINS = {
  openai: "https://api.openai.com",
  anthropic: "https://api.anthropic.com",
  google: "https://generativelanguage.googleapis.com",
} as const;
export type ProviderName = keyof typeof PROVIDER_ORIGINS;

/** The demo provider's port, counted from the base. */
const PROVIDER_PORT_OFFSET = 99;

/** The policy that `altrace up` starts with, read and checked before anything is started. */
export type DemoPolicy = {
  readonly bundle: Uint8Array;
  readonly agents: readonly string[];
  /** Given by name on the command line, so it is applied whatever is in force. */
  readonly isAsked: boolean;
  /** Providers without a real key, for which the demo provider stands in. */
  readonly standIns: readonly ProviderName[];
  readonly providerPort: number;
  /** One line on who answers. */
  readonly providers: string;
};

/** @throws CommandError The file cannot be read, or is not a policy: every error of it, exit 2. */
export function readDemoPolicy(of: {
  readonly file: string | undefined;
  readonly portBase: number;
  readonly env: Readonly<Record<string, string | undefined>>;
}): DemoPolicy {
  const file = of.file ?? fileURLToPath(new URL("./policy.yaml", import.meta.url));
  const real = credentialsFromEnv(of.env);
  const names = Object.keys(PROVIDER_ORIGINS) as ProviderName[];
  const standIns = names.filter((name) => !real.has(name));
  const providerPort = of.portBase + PROVIDER_PORT_OFFSET;
  const origin = `http://127.0.0.1:${providerPort}`;
  let text = textOf(file);
  for (const name of standIns) text = text.replaceAll(PROVIDER_ORIGINS[name], origin);
  const read = readPolicy(text, { file, scanner: contentScanner });
  if (!read.ok) {
    throw new CommandError(read.findings.map((one) => renderFinding(one)).join("\n"), 2);
  }
  const agents = [...read.document.teams].flatMap(([team, document]) =>
    [...document.agents.keys()].map((agent) => `${team}/${agent}`),
  );
  const places = names
    .filter((name) => real.has(name))
    .map((name) => `${name} at ${PROVIDER_ORIGINS[name]}`);
  if (standIns.length > 0) places.push(`demo provider at ${origin} for ${standIns.join(", ")}`);
  const { bundle } = read;
  const isAsked = of.file !== undefined;
  return { bundle, agents, isAsked, standIns, providerPort, providers: places.join(", ") };
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new CommandError(
      `${file}: ${cause instanceof Error ? cause.message : "not readable"}`,
      2,
    );
  }
}
