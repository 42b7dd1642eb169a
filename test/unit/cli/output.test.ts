import { expect, test } from "vitest";
import { createOutput } from "../../../cli/output.ts";

function terminal(isTTY: boolean, columns = 10, env = {}) {
  const said: string[] = [];
  const out = { isTTY, columns, rows: 5, write: (text: string) => said.push(text) };
  return { said, output: createOutput({ out, err: out }, false, env) };
}

test("a block takes the place of the one before, and a line comes after it", () => {
  const { said, output } = terminal(true);
  output.block(["one", "two"]);
  output.block(["three"]);
  output.line("end");
  output.block(["four"]);
  expect(said).toEqual(["one\ntwo\n", "\u001b[2A\r\u001b[Jthree\n", "end\n", "four\n"]);
});

test("an empty block takes the picture away", () => {
  const { said, output } = terminal(true);
  output.block(["one"]);
  output.block([]);
  output.block([]);
  expect(said).toEqual(["one\n", "\u001b[1A\r\u001b[J", ""]);
});

test("a line that does not fit is cut, and a colour in it still ends", () => {
  const { said, output } = terminal(true);
  output.block(["\u001b[31m123456789012345\u001b[0m"]);
  expect(said).toEqual(["\u001b[31m1234567890\u001b[0m\n"]);
});

test("there are no blocks and no colours where there is no terminal, or nobody wants them", () => {
  const { said, output } = terminal(false);
  output.block(["one"]);
  expect(said).toEqual([]);
  expect(output.color).toBe(false);
  expect(terminal(true, 80, { NO_COLOR: "1" }).output.color).toBe(false);
  expect(terminal(true).output.color).toBe(true);
});
