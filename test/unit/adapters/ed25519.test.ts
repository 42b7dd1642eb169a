import { expect, onTestFinished, test, vi } from "vitest";

test("where there is no binary for the machine, that is what is said", async () => {
  const { arch } = process;
  onTestFinished(() => void Object.defineProperty(process, "arch", { value: arch }));
  Object.defineProperty(process, "arch", { value: "s390x" });
  vi.resetModules();
  const loaded = import("../../../adapters/ed25519.ts");
  await expect(loaded).rejects.toThrow(`no binary that runs here: ${process.platform}-s390x`);
});
