import { describe, expect, test } from "vitest";
import { COORDINATOR_SETTINGS } from "../../coordinator/config.ts";
import { NODE_SETTINGS } from "../../node/config.ts";
import { REASONS } from "../../proto/reasons.ts";
import { reasonsPage } from "../../scripts/reasons-page.ts";
import { settingsPage } from "../../scripts/settings-page.ts";
import { textOf } from "./sources.ts";

describe("docs/reasons.md", () => {
  test("is what the registry says, so that nobody is told of a reason that is none", () => {
    expect(textOf("docs/reasons.md")).toBe(reasonsPage());
  });

  test("has a line for every reason", () => {
    const text = textOf("docs/reasons.md");
    const names = Object.keys(REASONS);
    expect(names.length).toBeGreaterThan(50);
    expect(names.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe("docs/settings.md", () => {
  const settings = [...Object.values(NODE_SETTINGS), ...Object.values(COORDINATOR_SETTINGS)];

  test("is what the two tables say, so that no setting is a secret", () => {
    expect(textOf("docs/settings.md")).toBe(settingsPage());
  });

  test("has a line for every setting", () => {
    const text = textOf("docs/settings.md");
    expect(settings.length).toBeGreaterThan(15);
    expect(settings.filter(({ env }) => !text.includes(`| \`${env}\` `))).toEqual([]);
  });
});
