import type { SettingTable } from "../adapters/settings.ts";

/** A word of the command line that is a process of its own, with flags of its own. */
export type ServerWord = {
  /** What it is, in one line. */
  readonly about: string;
  /** What may stand where the word's own words begin; none where there is none. */
  readonly words?: readonly string[];
  /** Loads the process, which reads its words itself and ends by itself. */
  start(): Promise<unknown>;
  settings(): Promise<SettingTable>;
};

export const SERVER_WORDS: Readonly<Record<string, ServerWord>> = {
  coordinator: {
    about: "the control plane of a mesh over NATS",
    start: () => import("../coordinator/main.ts"),
    settings: async () => (await import("../coordinator/config.ts")).COORDINATOR_SETTINGS,
  },
  node: {
    about: "a node of a mesh over NATS",
    start: () => import("../node/main.ts"),
    settings: async () => (await import("../node/config.ts")).NODE_SETTINGS,
  },
  enforcer: {
    about: "the privileged process beside a node; Linux only",
    words: ["print", "uninstall", "canary", "sidecar LINK TEAM/AGENT ADDRESS[,ADDRESS] FILE"],
    start: () => import("../node/kernel/main.ts"),
    settings: async () => (await import("../node/kernel/enforcer-config.ts")).ENFORCER_SETTINGS,
  },
};

/** What `altrace <word> --help` says: every flag, its variable, its default and its unit. */
export async function serverHelp(word: string, server: ServerWord): Promise<string> {
  const { flagOf } = await import("../adapters/settings.ts");
  const lines = [`Usage: altrace ${word} [flags]`];
  for (const one of server.words ?? []) lines.push(`       altrace ${word} ${one} [flags]`);
  lines.push("", server.about, "", "A flag wins over its variable.", "");
  for (const setting of Object.values(await server.settings())) {
    const byDefault = setting.byDefault === undefined ? "" : ` (default ${setting.byDefault})`;
    lines.push(
      `  --${flagOf(setting)} <value>  ${setting.env}`,
      `      ${setting.help}${byDefault}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
