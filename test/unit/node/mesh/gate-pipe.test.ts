import { describe, expect, test } from "vitest";
import { GatePipe, REST_NS, TURN_NS } from "../../../../node/mesh/gate-pipe.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const SCOPE = "team/research";

const PLACES = 64n;

/** The way to a program that answers `codes` in turn; undefined for one that says nothing. */
function pipesTo(...codes: readonly (string | undefined)[]) {
  const clock = twinClock();
  const asked: string[] = [];
  const places = new Map<number, string>();
  const answer = (no: string, code: string) =>
    places.set(Number(BigInt(no) % PLACES), `${no} ${code} ${no}`.padEnd(128));
  const state = { isThere: true, opened: 0, closed: 0 };
  const pipes = {
    write: (line: string) => {
      if (!state.isThere) return false;
      const code = codes[asked.push(line) - 1];
      const [no = ""] = line.split(" ");
      if (code !== undefined) answer(no, code);
      return true;
    },
    look: (place: number) => places.get(place) ?? "",
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
  const noOf = (question: number) => asked[question]?.split(" ")[0] ?? "";
  return { pipe, clock, asked, places, answer, noOf, state };
}

describe("the short way to the gate", () => {
  test("asks with a deadline, and is closed once the kernel has it", () => {
    const { pipe, asked, clock, noOf } = pipesTo("0");
    const deadlineNs = clock.monoNs() + TURN_NS;
    expect(pipe.kill(SCOPE)).toBe(BigInt(noOf(0) || "0"));
    expect(asked).toEqual([expect.stringMatching(new RegExp(`^\\d+ ${deadlineNs} ${SCOPE}\n$`))]);
  });

  test("an error is no gate, and the next kill is asked all the same", () => {
    const { pipe } = pipesTo("2", "0");
    expect(pipe.kill(SCOPE)).toBeUndefined();
    expect(pipe.kill(SCOPE)).toBeDefined();
  });

  test("S2, S3: a program that does not answer is waited for once, and then left alone", () => {
    const { pipe, clock, asked } = pipesTo(undefined, "0");
    const before = clock.monoNs();
    expect(pipe.kill(SCOPE)).toBeUndefined();
    // The twin's clock goes in steps of a millisecond.
    expect(clock.monoNs() - before).toBe(1_000_000n);
    expect(pipe.kill(SCOPE)).toBeUndefined();
    expect(asked).toHaveLength(1);
    clock.advance(Number(REST_NS / 1_000_000n));
    expect(pipe.kill(SCOPE)).toBeDefined();
  });

  test("answers to others, halves of one, and one that came too late are passed over", () => {
    const { pipe, clock, places, answer, noOf, asked } = pipesTo(undefined, undefined, "0");
    const next = clock.monoNs() + 1n;
    // Of the number that lay there before; and one that is still being written over it.
    answer(`${next - PLACES}`, "0");
    expect(pipe.kill(SCOPE)).toBeUndefined();
    places.set(Number((next + 1n) % PLACES), `${next + 1n} 0 0 3 999 ${next + 1n - PLACES}`);
    clock.advance(1_000);
    expect(pipe.kill(SCOPE)).toBeUndefined();
    expect(noOf(1)).toBe(`${next + 1n}`);
    answer(noOf(1), "0");
    clock.advance(1_000);
    expect(pipe.kill(SCOPE)).toBeDefined();
    expect(asked).toHaveLength(3);
  });

  test("what came of the sockets is told by the kill's number, once it is there", () => {
    const { pipe, answer, noOf } = pipesTo("0");
    const no = pipe.kill(SCOPE) ?? 0n;
    expect(pipe.swept(no)).toBeUndefined();
    answer(noOf(0), "0 0 3 999");
    expect(pipe.swept(no)).toEqual({ errno: "0", count: 3, atNs: 999n });
    expect(pipe.swept(no + PLACES)).toBeUndefined();
  });

  test("ends sockets behind a gate that is closed without waiting, and again where it was gone", () => {
    const { pipe, asked, state, answer } = pipesTo();
    const no = pipe.end(SCOPE) ?? 0n;
    expect(asked).toEqual([expect.stringMatching(new RegExp(`^= ${no} \\d+ ${SCOPE}\n$`))]);
    answer(`${no}`, "0 0 3 999");
    expect(pipe.swept(no)).toEqual({ errno: "0", count: 3, atNs: 999n });
    state.isThere = false;
    expect(pipe.end(SCOPE)).toBeUndefined();
    state.isThere = true;
    expect(pipe.end(SCOPE)).toBeDefined();
    expect(state).toMatchObject({ opened: 2, closed: 1 });
  });

  test("a program that is gone is looked for again later, and at once on a new connection", () => {
    const { pipe, clock, state, asked } = pipesTo(...new Array(300).fill("0"));
    state.isThere = false;
    expect(pipe.kill(SCOPE)).toBeUndefined();
    state.isThere = true;
    expect(pipe.kill(SCOPE)).toBeUndefined();
    clock.advance(1_000);
    expect(pipe.kill(SCOPE)).toBeDefined();
    state.isThere = false;
    expect(pipe.kill(SCOPE)).toBeUndefined();
    expect(state).toMatchObject({ opened: 1, closed: 1 });
    state.isThere = true;
    // The first time about nobody, until what a kill runs through is compiled; the thread is busy so long.
    pipe.open();
    const rehearsed = asked.length;
    expect(rehearsed).toBeGreaterThan(50);
    expect(asked.slice(1).every((line) => line.endsWith(" agent/rehearsal/nobody\n"))).toBe(true);
    pipe.open();
    expect(asked.length).toBe(rehearsed);
    expect(pipe.kill(SCOPE)).toBeDefined();
    expect(state.opened).toBe(2);
  });
});
