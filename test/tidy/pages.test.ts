import { describe, expect, test } from "vitest";
import { COORDINATOR_SETTINGS } from "../../coordinator/config.ts";
import { NODE_SETTINGS } from "../../node/config.ts";
import { REASONS } from "../../proto/reasons.ts";
import {
  COMPRESSED_LIMITS,
  DOOR_LIMITS,
  HTTP2_WORDS,
  LEDGER_LIMITS,
  type LimitWords,
  limitsPage,
  ORIGIN_WORDS,
  PASSAGE_LIMITS,
  POLICY_LIMITS,
  SIZE_LIMITS,
} from "../../scripts/limits-page.ts";
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

describe("docs/limits.md", () => {
  // One after the other, since some have members of the same name.
  const limits = [
    POLICY_LIMITS,
    SIZE_LIMITS,
    DOOR_LIMITS,
    HTTP2_WORDS,
    COMPRESSED_LIMITS,
    PASSAGE_LIMITS,
    LEDGER_LIMITS,
  ].flatMap((one) => Object.entries<LimitWords>(one));

  test("is what the tables of limits say", () => {
    expect(textOf("docs/limits.md")).toBe(limitsPage());
  });

  test("names for each limit a test that knows of its reason", () => {
    const silent = limits.filter(([name, { reason, test: file }]) => {
      const text = textOf(`test/unit/${file}.test.ts`);
      return !text.includes(reason ?? name);
    });
    expect(limits.length).toBeGreaterThan(25);
    expect(silent.map(([name]) => name)).toEqual([]);
  });
});

describe("docs/limits.md, of a provider's connection", () => {
  test("names for each limit a test that has it by name: its reader has one word for all faults", () => {
    const silent = Object.entries(ORIGIN_WORDS).filter(
      ([name, { test: file }]) => !textOf(`test/unit/${file}.test.ts`).includes(`"${name}"`),
    );
    expect(silent.map(([name]) => name)).toEqual([]);
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

describe("docs/contracts.md", () => {
  const page = textOf("docs/contracts.md");
  const attacks = [...page.matchAll(/^\| (\d+) \| .+ \| (.+) \| `(.+)` \|$/gm)];

  test("names all attacks on contracts, each once", () => {
    expect(attacks.map(([, no]) => Number(no))).toEqual(
      Array.from({ length: 42 }, (_, i) => i + 1),
    );
  });

  test.each(attacks.map(([, no, refusals, file]) => ({ no, refusals, file })))(
    "attack $no is tried where the page says, and by its reasons",
    ({ no, refusals = "", file }) => {
      const text = textOf(`test/unit/${file}.test.ts`);
      expect(new RegExp(`["\`]${no}(?:[:,] |")`).test(text), `"${no}: ..." in ${file}`).toBe(true);
      const reasons = [...refusals.matchAll(/`(\w+)`/g)].map(([, reason]) => reason as string);
      // The ledger's own refusals are no answers to requests: the test names them.
      const isKnown = (reason: string) => reason in REASONS || text.includes(`"${reason}"`);
      expect(reasons.filter((reason) => !isKnown(reason))).toEqual([]);
    },
  );
});
