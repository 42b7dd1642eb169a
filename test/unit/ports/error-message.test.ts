import { expect, test } from "vitest";
import { errorMessage, errorWithCauses } from "../../../ports/error-message.ts";

test("an error is told by its message, and with its causes down to the first", () => {
  const full = new Error("ENOSPC: no space left on device");
  const fault = new Error("control: a record could not be written", {
    cause: new Error("5 of 300 bytes were written", { cause: full }),
  });
  expect(errorMessage(fault)).toBe("control: a record could not be written");
  expect(errorWithCauses(fault)).toBe(
    "control: a record could not be written: 5 of 300 bytes were written: ENOSPC: no space left on device",
  );
  expect(errorWithCauses("a text")).toBe("a text");
  expect(errorWithCauses(new Error("alone", { cause: "a text" }))).toBe("alone: a text");
});
