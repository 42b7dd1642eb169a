import { describe, expect, test } from "vitest";
import { namesIn, type TextFile, textFiles, textOf } from "./sources.ts";

const files = textFiles();
const pages = files.filter(({ path }) => path.endsWith(".md"));
const packageJson = JSON.parse(textOf("package.json")) as {
  readonly license: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly [group: string]: unknown;
};

describe("the repository", () => {
  test("is seen whole by these rules", () => {
    expect(files.length).toBeGreaterThan(200);
    expect(pages.length).toBeGreaterThan(10);
  });

  test("pins every dependency exactly, because what was tested must be what runs", () => {
    const groups = ["dependencies", "devDependencies", "optionalDependencies"];
    const pinned = groups.flatMap((group) => Object.entries(packageJson[group] ?? {}));
    expect(pinned.length).toBeGreaterThan(20);
    const loose = pinned.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(String(version)));
    expect(loose).toEqual([]);
  });

  test("has a hash for every package it installs", () => {
    const lock = JSON.parse(textOf("package-lock.json")) as {
      readonly packages: Readonly<Record<string, { integrity?: string; link?: boolean }>>;
    };
    const installed = Object.entries(lock.packages).filter(([path]) => path !== "");
    expect(installed.length).toBeGreaterThan(100);
    const unhashed = installed.filter(([, { integrity }]) => integrity === undefined);
    expect(unhashed.map(([path]) => path)).toEqual([]);
  });

  test("says its licence where tools and people look", () => {
    expect(packageJson.license).toBe("Apache-2.0");
    expect(textOf("LICENSE")).toContain("Apache License");
  });

  test("has its proofs counted by one function, which refuses a misspelt word", () => {
    const reading = ["process.env", "ALTRACE_PROOF"].join(".");
    const reads = files
      .filter(({ path, text }) => path.endsWith(".ts") && text.includes(reading))
      .map(({ path }) => path);
    expect(reads).toEqual([]);
  });

  test("waits in its tests by functions whose limit no busy machine reaches", () => {
    const waiting = ["vi.waitFor", "vi.waitUntil"].map((name) => `${name}(`);
    const waits = files
      .filter(({ path, text }) => path.endsWith(".ts") && waiting.some((one) => text.includes(one)))
      .map(({ path }) => path);
    expect(waits).toEqual(["test/support/comes-true.ts"]);
  });

  test("runs only scripts that exist", () => {
    const started = Object.values(packageJson.scripts).flatMap((line) => [
      ...line.matchAll(/\bnode ([a-z./-]+\.(?:ts|js))/g),
    ]);
    expect(started.length).toBeGreaterThan(3);
    for (const [, script] of started) expect(() => textOf(script as string)).not.toThrow();
  });
});

describe("what is written", () => {
  const words: readonly { readonly pattern: RegExp; readonly why: string }[] = [
    { pattern: /\bissue #\d+|\bissues? \d+\b/i, why: "history is in the commits" },
    { pattern: /\.\.\/shared\b|\/work\//, why: "a clone has no such place" },
    {
      pattern: /\bin this session\b|\bprevious session\b|\bour session\b/i,
      why: "nobody was there",
    },
    {
      pattern: /\b(sub-?agents?|AI assistant|language model wrote)\b/i,
      why: "who wrote it is not said",
    },
    {
      pattern: /\bdesign pages?\b|\bdecisions\.md\b|\bdataplane\.md\b/,
      why: "readers have only this",
    },
  ];

  test.each(words)("has no $pattern: $why", ({ pattern }) => {
    const wrong = files
      .filter(({ path }) => path !== "test/tidy/repository.test.ts")
      .flatMap((file) => linesWith(file, pattern));
    expect(wrong).toEqual([]);
  });

  test("has no line end of another system and no blank at a line's end", () => {
    const wrong = files.filter(({ text }) => /\r|[ \t]$/m.test(text)).map(({ path }) => path);
    expect(wrong).toEqual([]);
  });

  test("links to pages and files that are there", () => {
    const paths = new Set(files.map(({ path }) => path));
    const folders = new Set(files.flatMap(({ path }) => parentsOf(path)));
    const links = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)].map((match) => ({
        path,
        target: resolved(path, match[1] as string),
      })),
    );
    expect(links.length).toBeGreaterThan(5);
    const also = new Set(["LICENSE", "package-lock.json"]);
    const dead = links.filter(
      ({ target }) => !paths.has(target) && !folders.has(target) && !also.has(target),
    );
    expect(dead).toEqual([]);
  });
});

describe("the pages", () => {
  test("name every room of the house, so that a newcomer finds the door", () => {
    const text = textOf("ARCHITECTURE.md");
    const rooms = namesIn(".").filter((name) =>
      files.some(({ path }) => path.startsWith(`${name}/`)),
    );
    const hidden = (name: string) => name.startsWith(".");
    const missing = rooms.filter((name) => !hidden(name) && !text.includes(`${name}/`));
    expect(missing).toEqual([]);
  });

  test("of decisions are numbered without a gap and each tells its consequences", () => {
    const names = namesIn("docs/adr");
    expect(names.length).toBeGreaterThan(8);
    names.forEach((name, i) => {
      expect(name).toMatch(new RegExp(`^${String(i + 1).padStart(4, "0")}-[a-z0-9-]+\\.md$`));
      const text = textOf(`docs/adr/${name}`);
      expect(text).toMatch(/^# \d+\. /);
      for (const part of ["Status: ", "## Decision", "## Consequences"])
        expect(text).toContain(part);
    });
  });

  test("of changes follow one form: newest first, each version dated, each change a sentence", () => {
    const lines = textOf("CHANGELOG.md").split("\n");
    const heads = lines.filter((line) => line.startsWith("## "));
    expect(heads[0]).toBe("## Unreleased");
    const versions = heads.slice(1);
    for (const head of versions) expect(head).toMatch(/^## \d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}$/);
    const dates = versions.map((head) => head.slice(-10));
    expect(dates).toEqual(dates.toSorted().reverse());
    const entries = textOf("CHANGELOG.md").split(/^- /m).slice(1);
    expect(entries.length).toBeGreaterThan(0);
    for (const entry of entries) expect(entry.split(/\n(?:\n|#)/)[0]?.trim()).toMatch(/\.$/);
  });
});

function linesWith({ path, text }: TextFile, pattern: RegExp): string[] {
  return text
    .split("\n")
    .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []));
}

function parentsOf(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join("/"));
}

/** A link as written on a page, from the root of the repository, without a slash at its end. */
function resolved(page: string, link: string): string {
  return new URL(link, `file:///${page}`).pathname.slice(1).replace(/\/$/, "");
}
