import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { fileWatch, WATCHED_EVERY_MS } from "../../../adapters/watched-file.ts";
import { LogFiles } from "../../../audit/log-files.ts";
import { encodeVkey } from "../../../audit/signed-note.ts";
import { WITNESSED_PATH } from "../../../audit/witnessed.ts";
import type { FromOutside } from "../../../coordinator/archive/archive-worker.ts";
import { BroughtLogs } from "../../../coordinator/outside/brought-logs.ts";
import { followOutsideFile } from "../../../coordinator/outside/followed-file.ts";
import { OutsideFileFault, readOutsideFile } from "../../../coordinator/outside/outside-file.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { T0_MS } from "../audit/sample-log.ts";
import { TwinDisk } from "../node/audit/twin-disk.ts";
import { LOG, logOf, ORIGIN, WITNESS } from "./archive-world.ts";
import { EVERY_MS, OtherMesh } from "./outside-world.ts";

const COPIES = "/home/archive";

describe("the operator's file of witnesses", () => {
  const folder = tempDir();
  const path = join(folder.path, "witnesses");
  afterAll(() => folder[Symbol.dispose]());
  const textOf = (...names: string[]) => {
    const lines = names.map((name, i) => new OtherMesh(name, 50 + i, () => T0_MS).line);
    return `${lines.join("")}quorum ${names[0]}\n`;
  };

  test("is read again when it has changed; one that is not understood changes nothing", () => {
    writeFileSync(path, textOf("w1"));
    const clock = twinClock();
    const file = followOutsideFile(path, fileWatch(clock));
    const [texts, said]: [string[], FromOutside[]] = [[], []];
    file.follow({ onText: (text) => texts.push(text), tell: (one) => said.push(one) });
    const put = (text: string) => {
      writeFileSync(path, text);
      for (let turn = 0; turn < 2; turn += 1) clock.advance(WATCHED_EVERY_MS);
    };
    put(textOf("w1", "w2"));
    expect(texts).toEqual([textOf("w1", "w2")]);
    expect(said).toMatchObject([{ event: "outside_file_taken", fields: { witnesses: "w1 w2" } }]);
    put("quorum nobody\n");
    expect(said.at(-1)).toMatchObject({ t: "news", event: "outside_file_refused" });
    expect([file.text, texts.length]).toEqual([textOf("w1", "w2"), 1]);
    put(textOf("w2"));
    expect([file.text, texts.length]).toEqual([textOf("w2"), 2]);
    file.close();
    put(textOf("w1", "w2"));
    expect([texts.length, said.length]).toEqual([2, 3]);
  });

  test("that cannot be used at the start keeps it from starting", () => {
    writeFileSync(path, "quorum nobody\n");
    const watch = fileWatch(twinClock());
    expect(() => followOutsideFile(path, watch)).toThrow(OutsideFileFault);
    expect(() => followOutsideFile(join(folder.path, "none"), watch)).toThrow("ENOENT");
  });
});

describe("witnesses that take the place of others", () => {
  function setUp() {
    const clock = twinClock({ nowMs: T0_MS + 60_000 });
    const disk = new TwinDisk();
    const meshes = ["w1", "w2"].map((name, i) => new OtherMesh(name, 50 + i, () => clock.nowMs()));
    const policyOf = (no: number) => {
      const { line, name } = meshes[no] as OtherMesh;
      return readOutsideFile(Buffer.from(`${line}quorum ${name}\n`));
    };
    const asked: string[] = [];
    const held = Promise.withResolvers<void>();
    const state = { isHeld: false };
    const files = new LogFiles(disk, { home: COPIES, dir: join(COPIES, ORIGIN) });
    const made = logOf(200);
    for (const [path, bytes] of made.files) files.put(path, bytes);
    disk.makeFolder(COPIES);
    files.settle(() => undefined);
    const logs = new BroughtLogs({
      outside: policyOf(0),
      everyMs: EVERY_MS,
      clock,
      disk,
      copies: COPIES,
      own: { home: "/home", dir: "/home/log" },
      coordinator: WITNESS.key,
      post: () => undefined,
      call: async (url, { body }) => {
        const mesh = meshes.find(({ name }) => url.startsWith(`https://${name}.`)) as OtherMesh;
        asked.push(mesh.name);
        const answer = await mesh.answer(url, body);
        if (state.isHeld) await held.promise;
        return { status: answer.status, body: Buffer.from(answer.body) };
      },
    });
    logs.known({ origin: ORIGIN, vkey: encodeVkey(LOG.key) });
    const settle = async () => {
      for (let i = 0; i < 12; i++) await new Promise(setImmediate);
    };
    const cosigners = () => {
      const note = disk.contentOf(join(COPIES, ORIGIN, WITNESSED_PATH))?.toString() ?? "";
      return meshes.filter(({ key }) => note.includes(key.name)).map(({ name }) => name);
    };
    return { logs, clock, policyOf, asked, held, state, settle, cosigners };
  }

  test("are brought the logs that the others were brought, though nothing was added to them", async () => {
    const { logs, policyOf, asked, settle, cosigners, clock } = setUp();
    logs.start();
    await settle();
    expect(cosigners()).toEqual(["w1"]);
    logs.replace(policyOf(1));
    await settle();
    expect(asked).toEqual(["w1", "w2"]);
    expect(cosigners()).toEqual(["w2"]);
    clock.advance(2 * EVERY_MS);
    await settle();
    expect(asked).toEqual(["w1", "w2"]);
  });

  test("are not written over by an answer to a question of before", async () => {
    const { logs, policyOf, held, state, settle, cosigners } = setUp();
    state.isHeld = true;
    logs.start();
    await settle();
    state.isHeld = false;
    logs.replace(policyOf(1));
    await settle();
    expect(cosigners()).toEqual(["w2"]);
    held.resolve();
    await settle();
    expect(cosigners()).toEqual(["w2"]);
  });

  test("a log of which the records are gone is brought to nobody, and no late answer is kept", async () => {
    const { logs, policyOf, asked, held, state, settle, cosigners, clock } = setUp();
    state.isHeld = true;
    logs.start();
    await settle();
    logs.retired(ORIGIN);
    held.resolve();
    await settle();
    expect(cosigners()).toEqual([]);
    clock.advance(2 * EVERY_MS);
    logs.replace(policyOf(1));
    await settle();
    expect(asked).toEqual(["w1"]);
  });
});
