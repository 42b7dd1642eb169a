/** Provider keys that a developer's environment may hold, by the name that policy calls them. */
const VARIABLES = {
  OPENAI_API_KEY: "openai",
  ANTHROPIC_API_KEY: "anthropic",
  GEMINI_API_KEY: "google",
} as const;

/**
 * Credentials that are in the environment of a single machine's node. In a fleet they are files.
 *
 * A value that is one of our own virtual keys is left out: it is there for an agent's SDK, and a
 * provider would get to see it.
 */
export function credentialsFromEnv(
  env: Readonly<Record<string, string | undefined>>,
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [variable, name] of Object.entries(VARIABLES)) {
    const value = env[variable];
    if (value !== undefined && value !== "" && !value.startsWith("altk_")) found.set(name, value);
  }
  return found;
}
