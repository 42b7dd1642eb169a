import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../../adapters/system-clock.ts";
import { type Credentials, openCredentials } from "../../../../node/dataplane/credentials.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { comesTrue } from "../../../support/comes-true.ts";

let folder: string;
let open: Credentials[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "altrace-credentials-"));
});

afterEach(() => {
  for (const one of open) one.close();
  open = [];
  rmSync(folder, { recursive: true, force: true });
});

function put(name: string, content: string): void {
  writeFileSync(join(folder, name), content, { mode: 0o600 });
}

function credentials(options: Partial<Parameters<typeof openCredentials>[0]> = {}): Credentials {
  const made = openCredentials({ clock: twinClock(), directory: folder, ...options });
  open.push(made);
  return made;
}

describe("a credential", () => {
  test("is the content of the file of its name, without its line end", () => {
    put("openai", "sk-first-0001\n");
    const made = credentials();
    expect(made.secretOf("openai")).toBe("sk-first-0001");
    expect(made.secretOf("other")).toBeUndefined();
    expect(made.names).toEqual(["openai"]);
  });

  test("may be given in another way, but a file of its name wins", () => {
    put("openai", "from-a-file");
    const values = new Map([
      ["openai", "from-values"],
      ["anthropic", "given-value"],
    ]);
    const made = credentials({ values });
    expect(made.secretOf("openai")).toBe("from-a-file");
    expect(made.secretOf("anthropic")).toBe("given-value");
  });

  test("is none where its file cannot be one, and that is told once without its content", () => {
    put("two-lines", "first-line\nsecond-line");
    put("short", "abc");
    put("Upper", "long-enough");
    put("empty", "");
    const problems: string[] = [];
    const clock = twinClock();
    const onProblem = (name: string, problem: string) => problems.push(`${name} ${problem}`);
    const made = credentials({ clock, onProblem });
    clock.advance(60_000);
    expect(made.names).toEqual([]);
    expect(problems.map((one) => one.split(" ", 1)[0]).toSorted()).toEqual(
      ["Upper", "empty", "short", "two-lines"].toSorted(),
    );
    expect(problems.join()).not.toContain("line\n");
    expect(problems.join()).not.toContain("first-line");
  });

  test("is not read from folders, hidden files or large ones", () => {
    mkdirSync(join(folder, "folder"));
    put(".hidden", "long-enough");
    put("large", "x".repeat(9_000));
    expect(credentials().names).toEqual([]);
  });

  test("of a team is the file of that team and name, beside the one of all teams", () => {
    put("openai", "sk-all-teams");
    put("research.openai", "sk-research");
    const made = credentials();
    expect(made.secretOf("openai")).toBe("sk-all-teams");
    expect(made.secretOf("research.openai")).toBe("sk-research");
    expect(made.secretOf("support.openai")).toBeUndefined();
  });

  test("P5: of a team that this node does not serve is not read, and that is told", () => {
    put("openai", "sk-all-teams");
    put("research.openai", "sk-research");
    put("support.openai", "sk-support");
    put("a.b.openai", "sk-nobody");
    const problems: string[] = [];
    const onProblem = (name: string, problem: string) => problems.push(`${name} ${problem}`);
    const made = credentials({ teams: ["research", "a"], onProblem });
    expect(made.names).toEqual(["openai", "research.openai"]);
    expect(inspect(made, { depth: 9, showHidden: true })).not.toContain("sk-support");
    expect(problems.toSorted()).toEqual([
      "a.b.openai is not a credential's name",
      "support.openai is of a team that this node does not serve",
    ]);
  });

  test("is nowhere to be seen in a dump of its store", () => {
    put("openai", "sk-hidden-0001");
    const made = credentials();
    expect(inspect(made, { depth: 9, showHidden: true })).not.toContain("sk-hidden");
    expect(JSON.stringify(made)).not.toContain("sk-hidden");
  });
});

describe("a change of the folder", () => {
  test("P2: is taken once it has stood still, and that is told", () => {
    const clock = twinClock();
    put("openai", "sk-first-0001");
    const taken: string[] = [];
    const made = credentials({ clock, onTaken: (name) => taken.push(name) });
    put("openai", "sk-second-");
    clock.advance(5_000);
    // As a slow writer does it: the first look saw half of it.
    put("openai", "sk-second-0002");
    expect(made.secretOf("openai")).toBe("sk-first-0001");
    clock.advance(250);
    expect(made.secretOf("openai")).toBe("sk-first-0001");
    clock.advance(250);
    expect(made.secretOf("openai")).toBe("sk-second-0002");
    expect(taken, "what was found at first is no news").toEqual(["openai"]);
  });

  test("P2: that takes a file away and brings it back leaves no moment without a secret", () => {
    const clock = twinClock();
    put("openai", "sk-first-0001");
    const made = credentials({ clock });
    rmSync(join(folder, "openai"));
    clock.advance(5_000);
    expect(made.secretOf("openai")).toBe("sk-first-0001");
    put("openai", "sk-second-0002");
    clock.advance(500);
    expect(made.secretOf("openai")).toBe("sk-second-0002");
  });

  test.each([
    ["empty", ""],
    ["of two lines", "first-line\nsecond-line"],
    ["too large", "x".repeat(9_000)],
  ])("P3: to a file that is %s leaves the secret before in use, and is told", (_what, text) => {
    const clock = twinClock();
    put("openai", "sk-first-0001");
    put("other", "sk-other-0001");
    const problems: string[] = [];
    const onProblem = (name: string, problem: string) => problems.push(`${name} ${problem}`);
    const made = credentials({ clock, onProblem });
    put("openai", text);
    put("other", "sk-other-0002");
    clock.advance(60_000);
    expect(made.secretOf("openai")).toBe("sk-first-0001");
    expect(made.secretOf("other")).toBe("sk-other-0002");
    expect(problems).toEqual([expect.stringMatching(/^openai .*the one before stays$/)]);
    put("openai", "sk-third-0003");
    clock.advance(60_000);
    expect(made.secretOf("openai")).toBe("sk-third-0003");
  });

  test("P3: to a folder that cannot be read changes nothing, and is told once", () => {
    const clock = twinClock();
    put("openai", "sk-first-0001");
    const problems: string[] = [];
    const made = credentials({ clock, onProblem: (name, why) => problems.push(`${name}|${why}`) });
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "not a folder");
    clock.advance(60_000);
    expect(made.secretOf("openai")).toBe("sk-first-0001");
    expect(problems).toEqual(["|the folder cannot be read (ENOTDIR)"]);
  });

  test("is seen by watching it", async () => {
    put("openai", "sk-first-0001");
    const made = credentials({ clock: systemClock });
    put("new", "sk-second-0002");
    put(".swap", "sk-third-0003");
    renameSync(join(folder, ".swap"), join(folder, "openai"));
    await comesTrue(() => {
      expect(made.secretOf("openai")).toBe("sk-third-0003");
      expect(made.secretOf("new")).toBe("sk-second-0002");
    });
    rmSync(join(folder, "new"));
    await comesTrue(() => expect(made.secretOf("new")).toBeUndefined());
  });

  test("is seen by looking, where watching sees nothing", () => {
    const clock = twinClock();
    const later = join(folder, "later");
    const made = credentials({ clock, directory: later });
    expect(made.names).toEqual([]);
    mkdirSync(later);
    writeFileSync(join(later, "openai"), "sk-first-0001");
    clock.advance(5_500);
    expect(made.secretOf("openai")).toBe("sk-first-0001");
  });

  test("is seen where a mount is swapped by a link, as Kubernetes does", () => {
    const clock = twinClock();
    for (const [version, secret] of [
      ["1", "sk-first-0001"],
      ["2", "sk-second-0002"],
    ] as const) {
      mkdirSync(join(folder, `..${version}`));
      writeFileSync(join(folder, `..${version}`, "openai"), secret);
    }
    symlinkSync("..1", join(folder, "..data"));
    symlinkSync("..data/openai", join(folder, "openai"));
    const made = credentials({ clock });
    expect(made.secretOf("openai")).toBe("sk-first-0001");
    symlinkSync("..2", join(folder, "..data_tmp"));
    renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    clock.advance(5_500);
    expect(made.secretOf("openai")).toBe("sk-second-0002");
  });

  test("that takes a file away takes its credential away", () => {
    const clock = twinClock();
    put("openai", "sk-first-0001");
    const made = credentials({ clock });
    rmSync(join(folder, "openai"));
    clock.advance(5_500);
    expect(made.secretOf("openai")).toBeUndefined();
  });
});

describe("a provider's text", () => {
  test("is cleared of the credentials, earlier ones included", () => {
    const clock = twinClock();
    put("openai", "plainword0001");
    const made = credentials({ clock });
    put("openai", "plainword0002-longer");
    clock.advance(5_500);
    const text = "keys plainword0001, plainword0002-longer and plainword0003";
    expect(made.scrub(text)).toBe("keys [redacted], [redacted] and plainword0003");
  });

  test.each([
    ["Incorrect API key provided: sk-proj-ab*****wxyz. You can", "sk-proj"],
    ["Bearer abcdefgh12345678 is not known", "abcdefgh"],
    ["key altk_0123456789ab_secretsecretsecret", "altk_"],
    ["AIzaSyD-1234567890abcdefghijk", "AIza"],
    ["token eyJhbGciOiJIUzI1.eyJzdWIiOiIx.sig", "eyJ"],
  ])("is cleared of what looks like a key: %s", (text, part) => {
    const scrubbed = credentials().scrub(text);
    expect(scrubbed).toContain("[redacted]");
    expect(scrubbed).not.toContain(part);
  });

  test.each([
    ["Rate limit reached in organization org-AbCdEfGh12345678 on tokens", "AbCdEf"],
    ["Project `proj_AbCdEfGh12345678` has no access to it", "AbCdEf"],
    ["exceeds your organization's (0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0) limit", "0f1e2d3c"],
    ["Quota exceeded, project_number:123456789012", "123456789012"],
    ["projects/123456789012/locations/global", "123456789012"],
  ])("is cleared of what names an account: %s", (text, part) => {
    const scrubbed = credentials().scrub(text);
    expect(scrubbed).toContain("[redacted]");
    expect(scrubbed).not.toContain(part);
  });

  test("keeps what does not", () => {
    const text = "Rate limit reached for gpt-5-mini in organization org-1 on tokens per min";
    expect(credentials().scrub(text)).toBe(text);
    const other = "request 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0, project 12, org-wide, proj_x";
    expect(credentials().scrub(other)).toBe(other);
  });
});
