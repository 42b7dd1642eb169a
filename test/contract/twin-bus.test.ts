import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { createBusHub } from "../../adapters/in-process-bus.ts";
import { BusFault } from "../../ports/bus.ts";
import { type AppendFate, type BusFaults, twinBus } from "../../ports/twin-bus.ts";
import { twinClock } from "../../ports/twin-clock.ts";
import { CONTROL_STREAM } from "../../proto/subjects.ts";

const SUBJECT = "alt.ctl.policy";
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** A faulty connection and a sound one on one hub, and what each has heard on `a`. */
function open(faults: BusFaults = {}) {
  const hub = createBusHub(undefined);
  const faulty = twinBus(hub.connect(), faults);
  const sound = hub.connect();
  const heard = { faulty: [] as string[], sound: [] as string[] };
  faulty.listen("a", (m) => heard.faulty.push(Buffer.from(m.bytes).toString()));
  sound.listen("a", (m) => heard.sound.push(Buffer.from(m.bytes).toString()));
  return { faulty, sound, heard };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(BusFault);
  return (error as BusFault).code;
}

describe("the twin of a connection", () => {
  test("loses, doubles, delays and reorders what the test says", async () => {
    const clock = twinClock();
    const fates = [[], [0, 3], [5], [1]];
    const { faulty, heard } = open({
      clock,
      fate: (way) => (way === "out" ? (fates.shift() ?? [0]) : [0]),
    });
    for (const name of ["lost", "twice", "late", "soon"]) faulty.send("a", bytes(name));
    await turn();
    expect(heard.sound).toEqual(["twice"]);
    for (let ms = 0; ms < 6; ms += 1) {
      clock.advance(1);
      await turn();
    }
    expect(heard.sound).toEqual(["twice", "soon", "twice", "late"]);
  });

  test("cut one way still lets the other way pass", async () => {
    const { faulty, sound, heard } = open();
    faulty.cut("in");
    faulty.send("a", bytes("from faulty"));
    sound.send("a", bytes("from sound"));
    await turn();
    expect(heard).toEqual({ faulty: [], sound: ["from faulty", "from sound"] });
    expect(faulty.isUp()).toBe(true);
    sound.listen("q", (m) => m.respond?.(bytes("answer")));
    expect(await codeOf(faulty.ask("q", bytes(""), 100))).toBe("timeout");
    expect(await codeOf(faulty.read(CONTROL_STREAM, 0, 1))).toBe("timeout");
  });

  test("cut both ways is down, and after healing up again and told so", async () => {
    const { faulty, sound, heard } = open();
    await turn();
    let ups = 0;
    faulty.onUp(() => {
      ups += 1;
    });
    await turn();
    ups = 0;
    faulty.cut("in");
    faulty.cut("out");
    expect(faulty.isUp()).toBe(false);
    faulty.send("a", bytes("x"));
    sound.send("a", bytes("y"));
    await turn();
    expect(heard).toEqual({ faulty: [], sound: ["y"] });
    const append = faulty.append(SUBJECT, bytes("x"), { msgId: "1", expectSeq: 0 });
    expect(await codeOf(append)).toBe("closed");
    faulty.heal();
    await turn();
    expect([faulty.isUp(), ups]).toEqual([true, 1]);
    sound.send("a", bytes("z"));
    await turn();
    expect(heard.faulty).toEqual(["z"]);
  });

  test("fails an append in both ways, and the caller cannot tell which", async () => {
    const fates: AppendFate[] = ["not_stored", "stored_unanswered"];
    const { faulty, sound } = open({ appendFate: () => fates.shift() ?? "good" });
    const options = { msgId: "1", expectSeq: 0 };
    expect(await codeOf(faulty.append(SUBJECT, bytes("x"), options))).toBe("unknown");
    expect(await sound.last(CONTROL_STREAM, SUBJECT)).toBeUndefined();
    expect(await codeOf(faulty.append(SUBJECT, bytes("x"), options))).toBe("unknown");
    expect((await sound.last(CONTROL_STREAM, SUBJECT))?.seq).toBe(1);
    expect(await faulty.append(SUBJECT, bytes("x"), options)).toEqual({ seq: 1 });
  });

  test("a message in flight when its listener stops is not heard", async () => {
    const clock = twinClock();
    const { faulty, sound } = open({ clock, fate: (way) => (way === "in" ? [5] : [0]) });
    const heard: string[] = [];
    const stop = faulty.listen("b", (m) => heard.push(m.subject));
    sound.send("b", bytes("x"));
    await turn();
    stop();
    clock.advance(10);
    expect(heard).toEqual([]);
  });
});
