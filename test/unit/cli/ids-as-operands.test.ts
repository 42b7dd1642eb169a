import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { idsAsOperands } from "../../../cli/ids-as-operands.ts";

const ID = "-VSzkfgWPiYNQR_VhJCMxYhXpoHbf_mKCx8CuUr_5f0";

/** What `contract revoke` is told by a command line. */
function told(...args: string[]): { id?: string; reason?: string; json?: boolean } {
  const seen: { id?: string; reason?: string; json?: boolean } = {};
  const program = new Command("altrace").option("--json").version("0").exitOverride();
  program
    .command("contract")
    .command("revoke <id>")
    .option("--reason <text>")
    .action((id: string, { reason }: { reason?: string }, command: Command) => {
      Object.assign(seen, { id, reason, json: command.optsWithGlobals().json });
    });
  program.parse(idsAsOperands(args, program), { from: "user" });
  return seen;
}

describe("an id that begins with a dash", () => {
  test("is an operand wherever it stands", () => {
    expect(told("contract", "revoke", ID)).toEqual({ id: ID });
    expect(told("contract", "revoke", ID, "--json", "--reason", "r")).toEqual({
      id: ID,
      reason: "r",
      json: true,
    });
    expect(told("contract", "revoke", "--json", ID)).toEqual({ id: ID, json: true });
    expect(told("contract", "revoke", "--", ID)).toEqual({ id: ID });
  });

  test("with two dashes too", () => {
    const id = `--${ID.slice(2)}`;
    expect(told("contract", "revoke", id)).toEqual({ id });
  });

  test("stays the value of the option before it", () => {
    expect(told("contract", "revoke", "--reason", ID, "x")).toEqual({ id: "x", reason: ID });
  });
});

test("words that are no ids are left as they are", () => {
  const words = ["contract", "revoke", "-h", "--jsn", "-V"];
  expect(idsAsOperands(words, new Command())).toEqual(words);
});
