import type { SettingTable } from "../adapters/settings.ts";
import { flagOf } from "../adapters/settings.ts";
import { COORDINATOR_SETTINGS } from "../coordinator/config.ts";
import { NODE_SETTINGS } from "../node/config.ts";
import { ENFORCER_SETTINGS } from "../node/kernel/enforcer-config.ts";
import { markdownTable } from "./markdown-table.ts";

const HEAD = `# Settings

Every setting of a node, of an enforcer and of a coordinator. A flag wins over the environment, and the environment
over the default. All that is wrong is told at once, and then nothing has been started; a variable
that begins with \`ALTRACE_\` and is not listed here is an error. \`altrace up\` takes both lists.

Secrets are no settings: keys lie in HOME and provider credentials in a folder of their own, each in
a file of mode 0600.

This page is made from \`node/config.ts\`, \`node/kernel/enforcer-config.ts\` and
\`coordinator/config.ts\` by \`npm run docs\`.
`;

const COLUMNS = ["variable", "flag", "default", "what it is"];

/** The page of settings, from the two tables that read them. */
export function settingsPage(): string {
  return [
    HEAD,
    section("A node (`altrace node`)", NODE_SETTINGS),
    section("An enforcer (`altrace enforcer`, beside a node on Linux)", ENFORCER_SETTINGS),
    section("A coordinator (`altrace coordinator`)", COORDINATOR_SETTINGS),
  ].join("\n");
}

function section(title: string, table: SettingTable): string {
  const rows = Object.values(table).map((setting) => {
    const byDefault = setting.byDefault ?? "none";
    return [`\`${setting.env}\``, `\`--${flagOf(setting)}\``, `\`${byDefault}\``, setting.help];
  });
  return [`## ${title}`, "", ...markdownTable([COLUMNS, ...rows]), ""].join("\n");
}
