import { expect, test } from "vitest";
import { MUTATIONS } from "../sim/mutations.ts";
import { textOf } from "./sources.ts";

test.each(MUTATIONS)(
  "the line that is broken to $name is in its file once, or nothing would be broken",
  ({ file, find }) => {
    expect(textOf(file).split(find)).toHaveLength(2);
  },
);
