import { describe, expect, test } from "vitest";
import { encodeVkey, KEY_TYPES } from "../../../audit/signed-note.ts";
import { openArchive } from "../../../coordinator/archive/open-archive.ts";
import type { CoordinatorEvent } from "../../../coordinator/events.ts";
import { EVIDENCE_MAX } from "../../../coordinator/evidence.ts";
import { CoordinatorMetrics } from "../../../coordinator/metrics.ts";
import {
  OUTSIDE_WITNESSES_MAX,
  OutsideFileFault,
  readOutsideFile,
  witnessUrls,
} from "../../../coordinator/outside/outside-file.ts";
import { EVIDENCE_PREFIX } from "../../../coordinator/store-keys.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import { signerOf } from "../audit/sample-log.ts";

const read = (text: string) => readOutsideFile(Buffer.from(text));
const vkeyOf = (no: number) =>
  encodeVkey(signerOf(`w${no}.example`, KEY_TYPES.cosignature, 60 + no).key);
const line = (url: string, no = 1, name = `w${no}`) => `witness ${name} ${vkeyOf(no)} ${url}\n`;

describe("the file of witnesses outside", () => {
  test.each([
    "https://witness.example/",
    "https://witness.example:8443/altrace/w1",
    "http://127.0.0.1:8080",
    "http://[::1]:8080/",
    "http://localhost:8080/",
    "http://10.1.2.3/",
  ])("takes %s", (url) => {
    expect(read(`${line(url)}quorum w1\n`).places).toMatchObject([{ name: "w1", url }]);
  });

  test.each([
    ["one without a URL", `witness w1 ${vkeyOf(1)}\nquorum w1\n`],
    ["no witness at all", "quorum none\n"],
    ["no quorum", line("https://witness.example/")],
    ["plain HTTP to a name", `${line("http://witness.example/")}quorum w1\n`],
    ["another scheme", `${line("ftp://witness.example/")}quorum w1\n`],
    ["no URL but words", `${line("witness.example")}quorum w1\n`],
    ["a password", `${line("https://me:secret@witness.example/")}quorum w1\n`],
    ["a query", `${line("https://witness.example/?to=1")}quorum w1\n`],
    ["a fragment", `${line("https://witness.example/#one")}quorum w1\n`],
    ["a name that no metric should bear", `${line("https://w.example/", 1, 'a"b')}quorum a"b\n`],
  ])("refuses %s", (_what, text) => {
    expect(() => read(text)).toThrow(OutsideFileFault);
  });

  test(`refuses more than ${OUTSIDE_WITNESSES_MAX}, whose lines no checkpoint has room for`, () => {
    const lines = (count: number) =>
      Array.from({ length: count }, (_, no) => line("https://witness.example/", no)).join("");
    const text = (count: number) => `${lines(count)}quorum none\n`;
    expect(read(text(OUTSIDE_WITNESSES_MAX)).places).toHaveLength(OUTSIDE_WITNESSES_MAX);
    expect(() => read(text(OUTSIDE_WITNESSES_MAX + 1))).toThrow(OutsideFileFault);
  });

  test("names a prefix, below which the protocol's own paths are", () => {
    const hash = "0".repeat(64);
    for (const url of ["https://w.example/a", "https://w.example/a/"]) {
      expect(witnessUrls(url, hash)).toEqual({
        add: "https://w.example/a/add-checkpoint",
        latest: `https://w.example/a/${hash}/checkpoint`,
      });
    }
  });
});

describe("what is heard of witnesses outside", () => {
  function setUp() {
    const [store, metrics] = [twinStore({}), new CoordinatorMetrics()];
    const told: CoordinatorEvent[] = [];
    let say: Parameters<NonNullable<Parameters<typeof openArchive>[0]>>[1] | undefined;
    openArchive(
      (_of, hearers) => {
        say = hearers;
        const link = { keepsCopies: false, outsidePolicy: "", witnessed: () => undefined };
        return { ...link, add: never, record: never, close: never };
      },
      { witnessVkey: vkeyOf(1), mesh: "acme" },
      { store, metrics, tell: (event) => told.push(event) },
    );
    if (say === undefined) throw new Error("it was not opened");
    return { store, metrics, told, hear: say.onOutside };
  }
  const never = (): Promise<never> => Promise.reject(new Error("is not asked"));

  test("is counted, by names that the operator has given", async () => {
    const { metrics, hear } = setUp();
    const logs = { waiting: 0, cosigned: 3, unknown: 1, refused: 0, ahead: 0, disputed: 0 };
    const status = { name: "w1", logs, waitingMs: 2_000, answers: { cosigned: 5 } };
    for (let i = 0; i < 2; i++) {
      hear({ t: "status", status: { unwitnessedMs: 61_000, witnesses: [status] } });
    }
    const text = await metrics.registry.metrics();
    expect(text).toContain("altrace_outside_unwitnessed_seconds 61\n");
    expect(text).toContain('altrace_outside_witness_waiting_seconds{witness="w1"} 2\n');
    expect(text).toContain('altrace_outside_witness_logs{witness="w1",standing="unknown"} 1\n');
    const answers = 'altrace_outside_witness_answers_total{witness="w1",outcome=';
    expect(text).toContain(`${answers}"cosigned"} 10\n`);
    expect(text).toContain(`${answers}"disputed"} 0\n`);
    // Who is in the file no more waits for nothing; what it has answered stays counted.
    hear({ t: "status", status: { unwitnessedMs: 0, witnesses: [{ ...status, name: "w2" }] } });
    const later = await metrics.registry.metrics();
    expect(later).not.toMatch(/altrace_outside_witness_(logs|waiting_seconds)\{witness="w1"/);
    expect(later).toMatch(/altrace_outside_witness_answers_total\{witness="w1"/);
  });

  test("is kept where it contradicts a log, bounded, and told as what it is", async () => {
    const { store, told, hear } = setUp();
    const of = { origin: "acme/node-7/e1", witness: "w1", cosigned: "theirs" };
    const settled = async (): Promise<void> => {
      for (let i = 0; i < 12; i++) await new Promise(setImmediate);
    };
    for (let i = 0; i < EVIDENCE_MAX + 3; i++) {
      hear({ t: "evidence", evidence: { ...of, kind: "fork", offered: `ours ${i}` } });
      await settled();
    }
    hear({ t: "evidence", evidence: { ...of, kind: "rollback", offered: "ours" } });
    hear({ t: "evidence", evidence: { ...of, kind: "disputed", offered: "ours" } });
    await settled();
    hear({ t: "evidence", evidence: { ...of, kind: "disputed", offered: "ours" } });
    await settled();
    const kinds = store
      .list(EVIDENCE_PREFIX)
      .map(([, bytes]) => JSON.parse(Buffer.from(bytes).toString("utf8")).kind);
    expect(kinds.filter((kind) => kind === "rollback")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "disputed")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "fork")).toHaveLength(EVIDENCE_MAX);
    expect(told.filter((event) => event === "log_forked")).toHaveLength(EVIDENCE_MAX + 3);
    expect(told.filter((event) => event === "log_went_back")).toHaveLength(1);
  });
});
