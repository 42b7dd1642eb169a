import { expect, test } from "vitest";
import { markdownTable } from "../../../scripts/markdown-table.ts";

test("columns are as wide as their widest cell, counted in characters", () => {
  expect(markdownTable([["a", "what"], ["some", "é😀"], ["x"]])).toEqual([
    "| a    | what |",
    "| ---- | ---- |",
    "| some | é😀   |",
    "| x    |      |",
  ]);
});

test("a column is never narrower than its rule", () => {
  expect(markdownTable([["a"]])).toEqual(["| a   |", "| --- |"]);
});
