import { describe, expect, test } from "vitest";
import { FlowNotes, REST_NS } from "../../../node/flow-notes.ts";
import { flowNote } from "../../../node/kernel/flow-note.ts";
import { twinClock } from "../../../ports/twin-clock.ts";

const ENDS = {
  ...{ localAddress: "198.18.5.5", localPort: 443 },
  ...{ remoteAddress: "10.77.0.11", remotePort: 40_000 },
};

describe("a note of a connection", () => {
  test("is its two ends, byte for byte, in each family", () => {
    expect(Buffer.from(flowNote(ENDS) ?? []).toString("hex")).toBe(
      `0200000001bb9c40${"c6120505".padEnd(32, "0")}${"0a4d000b".padEnd(32, "0")}`,
    );
    const six = { ...ENDS, localAddress: "2001:db8::1", remoteAddress: "fd77::11" };
    expect(Buffer.from(flowNote(six) ?? []).toString("hex")).toBe(
      "0a00000001bb9c4020010db8000000000000000000000001fd770000000000000000000000000011",
    );
  });

  test("is not made of one that has ended, or that names a link", () => {
    expect(flowNote({ ...ENDS, remoteAddress: "fe80::1%eth0" })).toBeUndefined();
    expect(flowNote({ ...ENDS, remoteAddress: undefined })).toBeUndefined();
    expect(flowNote({ ...ENDS, localAddress: undefined })).toBeUndefined();
  });
});

/** A pipe that takes notes while `takes`. */
function world() {
  const clock = twinClock();
  const state = { takes: true, isThere: true, tries: 0, opened: 0, closed: 0 };
  const told: Uint8Array[] = [];
  const notes = new FlowNotes(clock, () => {
    if (!state.isThere) return undefined;
    state.opened += 1;
    return {
      write: (note) => {
        state.tries += 1;
        if (state.takes) told.push(note);
        return state.takes;
      },
      close: () => {
        state.closed += 1;
      },
    };
  });
  return { clock, state, told, notes };
}

describe("what the gate's helper is told of connections", () => {
  test("is each of them, by a pipe that is opened once", () => {
    const { notes, told, state } = world();
    notes.tell(ENDS);
    notes.tell({ ...ENDS, remotePort: 40_001 });
    expect(told).toHaveLength(2);
    notes.close();
    expect(state).toMatchObject({ opened: 1, closed: 1 });
  });

  test.each([
    ["takes nothing", { takes: false }, { opened: 2, closed: 1 }],
    ["is not there", { isThere: false }, { opened: 1, closed: 0 }],
  ])("F2: a pipe that %s is left alone for a while, and opened again", (_, flaw, pipes) => {
    const { notes, told, state, clock } = world();
    Object.assign(state, flaw);
    notes.tell(ENDS);
    Object.assign(state, { takes: true, isThere: true });
    const { tries } = state;
    notes.tell(ENDS);
    expect(state.tries).toBe(tries);
    clock.advance(Number(REST_NS / 1_000_000n));
    notes.tell(ENDS);
    notes.tell(ENDS);
    expect(told).toHaveLength(2);
    expect(state).toMatchObject(pipes);
  });
});
