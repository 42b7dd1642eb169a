import { expect, test } from "vitest";
import { Enforcement, type EnforcementDeps } from "../../../../node/mesh/enforcement.ts";
import { kill, signers, World } from "./mesh-world.ts";

/** Says when each of its steps is called that puts a record in force. */
function enforcementThatTells(): { readonly enforcement: Enforcement; readonly steps: string[] } {
  const steps: string[] = [];
  const step = (name: string) => () => void steps.push(name);
  const deps = {
    node: "n1",
    clock: { monoNs: () => BigInt(steps.push("time")) },
    directory: { store: step("cell") },
    acks: { begun: step("what is to be closed") },
    records: { add: step("disk") },
    stall: { until: () => ({}) },
    hooks: { shut: step("gate") },
    defer: step("all else"),
  };
  return { enforcement: new Enforcement(deps as unknown as EnforcementDeps), steps };
}

test("a kill's cell is stored first, with its time, and then the gate is closed before anything else", () => {
  const { enforcement, steps } = enforcementThatTells();
  const record = new World().make("agent/red/worker", kill(), signers.coordinator);
  enforcement.enforce(record, { receivedNs: 0n, stallMark: {} as never, isAcked: true });
  expect(steps).toEqual(["cell", "time", "gate", "what is to be closed", "disk", "all else"]);
});
