import type { Command } from "commander";

/** Of a contract's id or a public key: 32 bytes in base64url. No option of ours is that long. */
const ID_LIKE = /^-[\w-]{42}$/;

/**
 * An id may begin with a dash, one in 64 does, and would be read as an option.
 *
 * @returns The same words, with such ids behind `--`, or joined to the option whose value they are.
 */
export function idsAsOperands(args: readonly string[], program: Command): string[] {
  if (!args.some((word) => ID_LIKE.test(word)) || args.includes("--")) return [...args];
  const valued = new Set(flagsWithValue(program));
  const words: string[] = [];
  const ids: string[] = [];
  for (const word of args) {
    const before = words.at(-1) ?? "";
    if (!ID_LIKE.test(word)) words.push(word);
    else if (valued.has(before)) words.splice(-1, 1, `${before}=${word}`);
    else ids.push(word);
  }
  return [...words, "--", ...ids];
}

/** `--key`, `--home`...: whatever stands behind one of them is its value. */
function flagsWithValue(command: Command): string[] {
  const own = command.options.filter(({ required }) => required).map(({ long }) => long ?? "");
  return [...own, ...command.commands.flatMap(flagsWithValue)];
}
