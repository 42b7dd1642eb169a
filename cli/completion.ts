import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The words that may follow a path of commands, such as `budget` or nothing. */
type Place = { readonly path: string; readonly words: readonly string[] };

/** A script for a shell's start-up file: completes commands and options, and files elsewhere. */
export function completionScript(shell: Shell, program: Command): string {
  const places = placesOf(program, "");
  if (shell === "fish") return fishScript(program.name(), places);
  const bash = bashScript(program.name(), places);
  return shell === "bash" ? bash : `autoload -U +X bashcompinit && bashcompinit\n${bash}`;
}

function placesOf(command: Command, path: string): Place[] {
  const own = command.commands.map((one) => one.name());
  const options = command.options.flatMap(({ long }) => (long == null ? [] : [long]));
  const below = command.commands.flatMap((one) => {
    return placesOf(one, path === "" ? one.name() : `${path} ${one.name()}`);
  });
  const inherited = path === "" ? [] : ["--home", "--coordinator", "--json"];
  return [{ path, words: [...own, ...options, ...inherited, "--help"] }, ...below];
}

function bashScript(name: string, places: readonly Place[]): string {
  const steps = places.filter(({ path }) => path !== "").map(({ path }) => `"${path}"`);
  const cases = places.map(({ path, words }) => `    "${path}") words="${words.join(" ")}" ;;`);
  return `_${name}() {
  local path="" next word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in ${steps.join("|")}) path="$next" ;; esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _${name} ${name}
`;
}

function fishScript(name: string, places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words }) => {
    const seen = path.split(" ").filter((word) => word !== "");
    const inside = seen.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
    const when = inside === "" ? "__fish_use_subcommand" : inside;
    return words.map((word) => {
      const what = word.startsWith("--") ? `-l ${word.slice(2)}` : `-a ${word}`;
      return `complete -c ${name} -n '${when}' ${what}`;
    });
  });
  return `${lines.join("\n")}\n`;
}
