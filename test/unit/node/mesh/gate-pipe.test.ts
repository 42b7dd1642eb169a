import { describe, expect, test } from "vitest";
import { GatePipe, REST_NS, TURN_NS } from "../../../../node/mesh/gate-pipe.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const SCOPE = "team/research";

/** Pipes to a program that answers `codes` in turn; undefined for one that says nothing. */
function pipesTo(...codes: readonly (string | undefined)[]) {
  const clock = twinClock();
  const asked: string[] = [];
  const unread: string[] = [];
  const state = { isThere: true, opened: 0, closed: 0 };
  const pipes = {
    write: (line: string) => {
      if (!state.isThere) return false;
      const code = codes[asked.push(line) - 1];
      const [no] = line.split(" ");
      if (code !== undefined) unread.push(`${no} ${code}\n`);
      return true;
    },
    read: () => unread.shift() ?? "",
    pause: () => clock.advance(1),
    close: () => {
      state.closed += 1;
    },
  };
  const pipe = new GatePipe(clock, () => {
    if (!state.isThere) return undefined;
    state.opened += 1;
    return pipes;
  });
  return { pipe, clock, asked, unread, state };
}

describe("the short way to the gate", () => {
  test("asks with a deadline, and is closed once the kernel has it", () => {
    const { pipe, asked, clock } = pipesTo("0");
    const deadlineNs = clock.monoNs() + TURN_NS;
    expect(pipe.kill(SCOPE)).toBe(true);
    expect(asked).toEqual([expect.stringMatching(new RegExp(`^\\d+ ${deadlineNs} ${SCOPE}\n$`))]);
  });

  test("an error is no gate, and the next kill is asked all the same", () => {
    const { pipe } = pipesTo("2", "0");
    expect(pipe.kill(SCOPE)).toBe(false);
    expect(pipe.kill(SCOPE)).toBe(true);
  });

  test("S2, S3: a program that does not answer is waited for once, and then left alone", () => {
    const { pipe, clock, asked } = pipesTo(undefined, "0");
    const before = clock.monoNs();
    expect(pipe.kill(SCOPE)).toBe(false);
    // The twin's clock goes in steps of a millisecond.
    expect(clock.monoNs() - before).toBe(1_000_000n);
    expect(pipe.kill(SCOPE)).toBe(false);
    expect(asked).toHaveLength(1);
    clock.advance(Number(REST_NS / 1_000_000n));
    expect(pipe.kill(SCOPE)).toBe(true);
  });

  test("answers to others, and one that came too late, are passed over", () => {
    const { pipe, clock, unread, asked } = pipesTo(undefined, "0");
    unread.push("17 0\n99");
    expect(pipe.kill(SCOPE)).toBe(false);
    unread.push(`${asked[0]?.split(" ")[0]} 0\n`);
    clock.advance(1_000);
    expect(pipe.kill(SCOPE)).toBe(true);
    expect(asked).toHaveLength(2);
  });

  test("a program that is gone is looked for again later, and at once on a new connection", () => {
    const { pipe, clock, state, asked } = pipesTo(...new Array(300).fill("0"));
    state.isThere = false;
    expect(pipe.kill(SCOPE)).toBe(false);
    state.isThere = true;
    expect(pipe.kill(SCOPE)).toBe(false);
    clock.advance(1_000);
    expect(pipe.kill(SCOPE)).toBe(true);
    state.isThere = false;
    expect(pipe.kill(SCOPE)).toBe(false);
    expect(state).toMatchObject({ opened: 1, closed: 1 });
    state.isThere = true;
    // The first time about nobody, until what a kill runs through is compiled; the thread is busy so long.
    pipe.open();
    const rehearsed = asked.length;
    expect(rehearsed).toBeGreaterThan(50);
    expect(asked.slice(1).every((line) => line.endsWith(" agent/rehearsal/nobody\n"))).toBe(true);
    pipe.open();
    expect(asked.length).toBe(rehearsed);
    expect(pipe.kill(SCOPE)).toBe(true);
    expect(state.opened).toBe(2);
  });
});
