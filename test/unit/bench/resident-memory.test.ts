import { expect, test } from "vitest";
import { residentMemoryOf } from "../../../bench/harness/resident-memory.ts";

const mapping = (file: string, rssKib: number, anonymousKib: number): string =>
  `7f42c3dc0000-7f42c3fd5000 r-xp 00a00000 fd:01 1838${file}
Size:               9999 kB
Rss:                ${rssKib} kB
Pss:                   1 kB
Anonymous:          ${anonymousKib} kB
AnonHugePages:      7777 kB
VmFlags: rd ex mr mw me sd
`;

test("resident memory falls into its own, pages of stores, and those of the program", () => {
  const smaps = [
    mapping(" /opt/altrace/node_modules/.bin/node", 20 * 1024, 2 * 1024),
    mapping(" /var/lib/altrace/home/mesh/data.mdb", 8 * 1024, 0),
    mapping("", 64 * 1024, 64 * 1024),
    mapping(" [heap]", 6 * 1024, 6 * 1024),
  ].join("");
  expect(residentMemoryOf(smaps)).toEqual({
    allMib: 98,
    anonymousMib: 72,
    storeMib: 8,
    programMib: 18,
  });
});
