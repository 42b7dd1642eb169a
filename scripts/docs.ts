// Writes the pages that are made from code: `npm run docs`.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { limitsPage } from "./limits-page.ts";
import { reasonsPage } from "./reasons-page.ts";
import { ROOT } from "./run-command.ts";
import { settingsPage } from "./settings-page.ts";

const PAGES: Readonly<Record<string, () => string>> = {
  "docs/limits.md": limitsPage,
  "docs/reasons.md": reasonsPage,
  "docs/settings.md": settingsPage,
};

for (const [path, make] of Object.entries(PAGES)) {
  const page = make();
  const file = join(ROOT, path);
  if (textIn(file) === page) continue;
  writeFileSync(file, page);
  console.log(`wrote ${path}`);
}

function textIn(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
