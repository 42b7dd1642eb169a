import { spawnSync } from "node:child_process";
import { Command } from "commander";
import { expect, test } from "vitest";
import { completionScript } from "../../../cli/completion.ts";

function program(): Command {
  const made = new Command("altrace").option("--json").option("--home <dir>");
  made.command("kill <scope>").option("--wait");
  made.command("budget").command("show [account]");
  return made;
}

/** What bash offers after these words, the last of which is begun. */
function offered(...words: string[]): string[] {
  const line = words.map((word) => `'${word}'`).join(" ");
  const script = `${completionScript("bash", program())}
COMP_WORDS=(altrace ${line}); COMP_CWORD=${words.length}; _altrace; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", script], { encoding: "utf8" });
  expect(stderr).toBe("");
  return stdout.split("\n").filter((word) => word !== "");
}

test("bash completes commands, commands below them, and options, wherever options stand", () => {
  expect(offered("k")).toEqual(["kill"]);
  expect(offered("budget", "")).toEqual(["show", "--home", "--coordinator", "--json", "--help"]);
  expect(offered("--json", "kill", "--w")).toEqual(["--wait"]);
  expect(offered("kill", "agent/x/y", "--w")).toEqual(["--wait"]);
  expect(offered("nothing-like-it")).toEqual([]);
});

test("zsh and fish get the same words in their own ways", () => {
  expect(completionScript("zsh", program())).toMatch(/^autoload .*bashcompinit\n_altrace\(\)/);
  const fish = completionScript("fish", program());
  expect(fish).toContain("complete -c altrace -n '__fish_use_subcommand' -a kill\n");
  expect(fish).toContain("-n '__fish_seen_subcommand_from budget' -a show\n");
});
