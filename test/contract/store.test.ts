import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { open } from "lmdb";
import { describe, expect, test } from "vitest";
import { CHECKSUM_BYTES } from "../../adapters/checked-entry.ts";
import { COMMIT_BYTES_MAX, KEY_BYTES_MAX, openLmdbStore } from "../../adapters/lmdb-store.ts";
import { type Store, StoreFault } from "../../ports/store.ts";
import { type CommitFate, twinStore } from "../../ports/twin-store.ts";
import { tempDir } from "../support/temp-dir.ts";

/** A store, and the way to find it again as the next process would. */
type Place = AsyncDisposable & { store: Store; reopen(): Promise<void> };

const PLACES: { readonly [name: string]: () => Place } = {
  LMDB: () => {
    const dir = tempDir();
    const path = join(dir.path, "store");
    const place: Place = {
      store: openLmdbStore(path),
      reopen: async () => {
        await place.store.close();
        place.store = openLmdbStore(path);
      },
      [Symbol.asyncDispose]: async () => {
        await place.store.close();
        dir[Symbol.dispose]();
      },
    };
    return place;
  },
  twin: () => {
    let twin = twinStore();
    const place: Place = {
      store: twin,
      reopen: async () => {
        twin = twin.crash();
        place.store = twin;
      },
      [Symbol.asyncDispose]: () => place.store.close(),
    };
    return place;
  },
};

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString();
const put = (key: string, value: string) => ({ key, value: bytes(value) });
const remove = (key: string) => ({ key, value: undefined });
const listed = (store: Store, ...args: Parameters<Store["list"]>) =>
  store.list(...args).map(([key, value]) => `${key}=${text(value)}`);

describe.each(Object.entries(PLACES))("store on %s", (_name, open) => {
  test("a value is what was put, byte for byte, and an absent one is undefined", async () => {
    await using place = open();
    const all = Uint8Array.from({ length: 256 }, (_, n) => n);
    await place.store.commit([
      { key: "all", value: all },
      { key: "empty", value: bytes("") },
    ]);
    expect(new Uint8Array(place.store.get("all") as Uint8Array)).toEqual(all);
    expect(place.store.get("empty")?.length).toBe(0);
    expect(place.store.get("none")).toBeUndefined();
    expect(place.store.get("al")).toBeUndefined();
  });

  test("reads see a commit from its call, before it has resolved", async () => {
    await using place = open();
    const { store } = place;
    await store.commit([put("a", "1"), put("b", "1")]);
    const pending = store.commit([put("a", "2"), remove("b"), put("c", "2")]);
    expect(text(store.get("a"))).toBe("2");
    expect(store.get("b")).toBeUndefined();
    expect(listed(store, "")).toEqual(["a=2", "c=2"]);
    expect(await pending).toBe("committed");
    expect(listed(store, "")).toEqual(["a=2", "c=2"]);
  });

  test("a commit with several writes is one, and the last write of a key stands", async () => {
    await using place = open();
    const { store } = place;
    await store.commit([put("a", "1"), put("b", "1"), put("a", "2"), remove("b")]);
    expect(listed(store, "")).toEqual(["a=2"]);
  });

  test("what was committed is there for the next process", async () => {
    await using place = open();
    await place.store.commit([put("kept", "1"), put("gone", "1")]);
    await place.store.commit([remove("gone"), put("kept", "2")]);
    await place.reopen();
    expect(listed(place.store, "")).toEqual(["kept=2"]);
  });

  test("a guard that holds lets the commit through, one that does not writes nothing", async () => {
    await using place = open();
    const { store } = place;
    expect(await store.commit([put("a", "1")], { key: "a", value: undefined })).toBe("committed");
    expect(await store.commit([put("a", "x")], { key: "a", value: undefined })).toBe("conflict");
    expect(await store.commit([put("a", "x")], { key: "a", value: bytes("2") })).toBe("conflict");
    expect(await store.commit([put("a", "x")], { key: "none", value: bytes("") })).toBe("conflict");
    expect(text(store.get("a"))).toBe("1");
    expect(await store.commit([put("a", "2")], { key: "a", value: bytes("1") })).toBe("committed");
    await place.reopen();
    expect(listed(place.store, "")).toEqual(["a=2"]);
  });

  test("of commits that guard on the same value, one goes through, though none was waited for", async () => {
    await using place = open();
    const { store } = place;
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        store.commit([put("a", `${n}`)], { key: "a", value: undefined }),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === "committed")).toHaveLength(1);
    expect(text(store.get("a"))).toBe(`${outcomes.indexOf("committed")}`);
  });

  test("a chain of guarded commits, each on the one before, goes through without waiting", async () => {
    await using place = open();
    const { store } = place;
    const outcomes: Promise<string>[] = [];
    for (let n = 0; n < 100; n += 1) {
      const value = n === 0 ? undefined : bytes(`${n - 1}`);
      outcomes.push(store.commit([put("a", `${n}`)], { key: "a", value }));
    }
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["committed"]));
    await place.reopen();
    expect(text(place.store.get("a"))).toBe("99");
  });

  test("what is called in one go is there afterwards in the order of the calls", async () => {
    await using place = open();
    const { store } = place;
    const done = [
      store.commit([put("k", "1"), put("a", "1")]),
      store.commit([put("k", "2")]),
      store.commit([put("k", "3"), put("b", "1")], { key: "k", value: bytes("2") }),
      store.commit([put("k", "4"), remove("a")]),
    ];
    expect(text(store.get("k"))).toBe("4");
    expect(await Promise.all(done)).toEqual(Array(4).fill("committed"));
    await place.reopen();
    expect(listed(place.store, "")).toEqual(["b=1", "k=4"]);
  });

  test("a list has the keys of its prefix, after its start, at most so many, in order of bytes", async () => {
    await using place = open();
    const { store } = place;
    const keys = [
      "p",
      "p/",
      "p/Z",
      "p/a",
      "p/a/b",
      "p/\u00e9",
      "p/\uffff",
      "p/\u{10000}",
      "q",
      "o/z",
    ];
    await store.commit(keys.toReversed().map((key) => put(key, "v")));
    const names = (...args: Parameters<Store["list"]>) => store.list(...args).map(([key]) => key);
    expect(names("p/")).toEqual(keys.slice(1, 8));
    expect(names("p/a")).toEqual(["p/a", "p/a/b"]);
    expect(names("p/", { after: "p/a" })).toEqual(keys.slice(4, 8));
    expect(names("p/", { after: "p/a", limit: 2 })).toEqual(keys.slice(4, 6));
    expect(names("p/", { after: "a" })).toEqual(keys.slice(1, 8));
    expect(names("p/", { after: "p0" })).toEqual([]);
    expect(names("p/", { limit: 0 })).toEqual([]);
    expect(names("zz")).toEqual([]);
    expect(names("")).toHaveLength(keys.length);
  });

  test("a limited list is right while commits are under way", async () => {
    await using place = open();
    const { store } = place;
    await store.commit(["a", "c", "e", "g", "i"].map((key) => put(key, "old")));
    const pending = store.commit([remove("a"), remove("c"), put("b", "new"), put("h", "new")]);
    expect(listed(store, "", { limit: 3 })).toEqual(["b=new", "e=old", "g=old"]);
    expect(listed(store, "", { after: "e", limit: 3 })).toEqual(["g=old", "h=new", "i=old"]);
    await pending;
    expect(listed(store, "", { limit: 3 })).toEqual(["b=new", "e=old", "g=old"]);
  });

  test("neither side can change the other's bytes afterwards", async () => {
    await using place = open();
    const { store } = place;
    const value = bytes("good");
    const pending = store.commit([{ key: "a", value }]);
    value.fill(0);
    await pending;
    expect(text(store.get("a"))).toBe("good");
    store.get("a")?.fill(0);
    expect(text(store.get("a"))).toBe("good");
  });

  test("values of a megabyte and many of them come back whole", async () => {
    await using place = open();
    const value = new Uint8Array(1_000_000).map((_, n) => n % 251);
    const commits = Array.from({ length: 8 }, (_, n) =>
      place.store.commit([{ key: `big/${n}`, value }]),
    );
    await Promise.all(commits);
    await place.reopen();
    const all = place.store.list("big/");
    expect(all).toHaveLength(8);
    for (const [, stored] of all) expect(Buffer.compare(stored, value)).toBe(0);
  });

  test("a key that is empty or too long is a bug and throws, and nothing is written", async () => {
    await using place = open();
    const { store } = place;
    for (const key of ["", "k".repeat(1025)]) {
      expect(() => store.get(key)).toThrow(TypeError);
      await expect(store.commit([put("a", "1"), put(key, "1")])).rejects.toThrow(TypeError);
    }
    expect(store.list("")).toEqual([]);
    const longest = "k".repeat(1024);
    await store.commit([put(longest, "1")]);
    expect(text(store.get(longest))).toBe("1");
  });

  test("a closed store finishes what was committed and takes nothing more", async () => {
    await using place = open();
    const { store } = place;
    const pending = store.commit([put("a", "1")]);
    await store.close();
    await store.close();
    expect(await pending).toBe("committed");
    expect(() => store.get("a")).toThrow(StoreFault);
    expect(() => store.list("")).toThrow(StoreFault);
    await expect(store.commit([put("b", "1")])).rejects.toThrow(StoreFault);
  });
});

/** As the library has it, without anything of ours. */
const openRaw = (path: string) =>
  open<Buffer, Buffer>({ path, noSubdir: false, encoding: "binary", keyEncoding: "binary" });

describe("LMDB alone", () => {
  test("keeps its files for this user alone, also those that were open to others", async () => {
    using dir = tempDir();
    const path = join(dir.path, "store");
    const files = ["data.mdb", "lock.mdb"].map((name) => join(path, name));
    const modes = () => [path, ...files].map((each) => statSync(each).mode & 0o777);
    await openLmdbStore(path).close();
    expect(modes()).toEqual([0o700, 0o600, 0o600]);
    chmodSync(path, 0o755);
    for (const file of files) chmodSync(file, 0o644);
    await openLmdbStore(path).close();
    expect(modes()).toEqual([0o700, 0o600, 0o600]);
  });

  test("what a commit resolved for is there after kill -9", async () => {
    using dir = tempDir();
    const path = join(dir.path, "store");
    const adapter = join(import.meta.dirname, "../../adapters/lmdb-store.ts");
    const program = join(dir.path, "write.ts");
    writeFileSync(
      program,
      `import { openLmdbStore } from ${JSON.stringify(adapter)};
      const store = openLmdbStore(${JSON.stringify(path)});
      for (let n = 0; ; n += 1) {
        await store.commit([{ key: "n", value: Buffer.from(String(n)) }]);
        process.stdout.write(n + "\\n");
      }`,
    );
    const child = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
    let told = "";
    child.stdout.on("data", (data: Buffer) => {
      told += data.toString();
      if (told.split("\n").length > 20) child.kill("SIGKILL");
    });
    await once(child, "close");
    const lastTold = Number(told.split("\n").at(-2));
    expect(lastTold).toBeGreaterThanOrEqual(19);
    const store = openLmdbStore(path);
    expect(Number(text(store.get("n")))).toBeGreaterThanOrEqual(lastTold);
    await store.close();
  });

  describe("on a disk that takes no more", () => {
    /**
     * A process that commits until one fails, and once more. No file of it may grow beyond so many blocks of 512
     * bytes: EFBIG, which the library meets as it does EROFS and EIO.
     */
    async function writerIn(folder: string, { blocks }: { readonly blocks: number }) {
      const adapter = join(import.meta.dirname, "../../adapters/lmdb-store.ts");
      const program = join(folder, "write.ts");
      writeFileSync(
        program,
        `import { openLmdbStore } from ${JSON.stringify(adapter)};
        const store = openLmdbStore(${JSON.stringify(join(folder, "store"))});
        const commit = (n) => store.commit([{ key: String(n), value: new Uint8Array(16_384) }]);
        let taken = 0;
        while (await commit(taken).then(() => true, () => false)) taken += 1;
        await new Promise((resolve) => setImmediate(resolve));
        const both = await Promise.allSettled([commit("a"), commit("b")]);
        await new Promise((resolve) => setImmediate(resolve));
        console.log(JSON.stringify({ taken: taken > 0, both: both.map(({ reason }) => reason.name) }));`,
      );
      const command = `ulimit -f ${blocks} && exec "$0" "$1"`;
      const child = spawn("/bin/sh", ["-c", command, process.execPath, program], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      let [told, said] = ["", ""];
      child.stdout.on("data", (data: Buffer) => {
        told += data.toString();
      });
      child.stderr.on("data", (data: Buffer) => {
        said += data.toString();
      });
      const [code] = await once(child, "close");
      return { code, told, said };
    }

    test("a commit fails before the library could meet it, and the process goes on", async () => {
      using dir = tempDir();
      const { code, told, said } = await writerIn(dir.path, { blocks: 8192 });
      expect([code, told], said).toEqual([
        0,
        '{"taken":true,"both":["StoreFault","StoreFault"]}\n',
      ]);
      expect(said).toBe("");
    });

    test("a write that fails within the library ends the process, whose memory may be damaged", async () => {
      using dir = tempDir();
      mkdirSync(join(dir.path, "store"), { mode: 0o700 });
      // It takes whatever the disk beside it would not.
      symlinkSync("/dev/null", join(dir.path, "store", "probe"));
      // A write begins just where the file may not grow, and so none of it is taken.
      const { code, told, said } = await writerIn(dir.path, { blocks: 1024 });
      expect(said).toContain("Attempting to write page");
      expect(code).not.toBe(0);
      expect(told).toBe("");
    });
  });

  test("a store that cannot be probed for writes is read all the same", async () => {
    using dir = tempDir();
    const path = join(dir.path, "store");
    const before = openLmdbStore(path);
    await before.commit([put("a", "1")]);
    await before.close();
    rmSync(join(path, "probe"));
    // In the place of a file for which there is no room.
    mkdirSync(join(path, "probe"));
    const store = openLmdbStore(path);
    await expect(store.commit([put("a", "2")])).rejects.toThrow(StoreFault);
    expect(text(store.get("a"))).toBe("1");
    await store.close();
  });

  test("on a disk that is nearly full a commit fails before the library could meet its end", async () => {
    using dir = tempDir();
    const roomy = openLmdbStore(dir.path);
    await roomy.commit([put("a", "1")]);
    await roomy.close();
    const store = openLmdbStore(dir.path, { freeBytesMin: Number.MAX_SAFE_INTEGER });
    await expect(store.commit([put("a", "2")])).rejects.toThrow(StoreFault);
    expect(text(store.get("a"))).toBe("1");
    await store.close();
  });

  test("one that the disk has no room for takes none with it that was called in the same go", async () => {
    using dir = tempDir();
    const { bavail, bsize } = statfsSync(dir.path);
    // Room for half of the large one, as far as whoever else writes to this disk leaves it.
    const store = openLmdbStore(dir.path, { freeBytesMin: bavail * bsize - 2 * COMMIT_BYTES_MAX });
    const large = new Uint8Array(COMMIT_BYTES_MAX - KEY_BYTES_MAX);
    const done = await Promise.allSettled([
      store.commit([put("before", "1")]),
      store.commit([{ key: "large", value: large }]),
      store.commit([put("after", "1")]),
    ]);
    expect(done.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(listed(store, "")).toEqual(["after=1", "before=1"]);
    await store.close();
  });

  test("closed at once, it still writes what was called in one go", async () => {
    using dir = tempDir();
    const store = openLmdbStore(dir.path);
    const done = Array.from({ length: 50 }, (_, n) => store.commit([put(`k${n}`, "x")]));
    await store.close();
    await Promise.all(done);
    const again = openLmdbStore(dir.path);
    expect(again.list("k")).toHaveLength(50);
    await again.close();
  });

  test("its folder is open to its owner alone", async () => {
    using dir = tempDir();
    const path = join(dir.path, "store");
    const store = openLmdbStore(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    await store.close();
  });

  describe("of a file in which a bit has flipped", () => {
    const COUNT = 300;
    /** A store of that many entries, with its file changed after it was closed. */
    const damaged = async (path: string, change: (file: Buffer) => void): Promise<void> => {
      const store = openLmdbStore(path);
      await store.commit(Array.from({ length: COUNT }, (_, n) => put(`row/${n}`, `[10${n},0]`)));
      await store.close();
      const data = join(path, "data.mdb");
      const file = readFileSync(data);
      change(file);
      writeFileSync(data, file);
    };
    /** Everywhere, since pages that were written anew leave their former ones behind. */
    const flipEach = (file: Buffer, what: string): void => {
      for (let at = file.indexOf(what); at >= 0; at = file.indexOf(what, at)) {
        const place = at + what.length - 1;
        file[place] = (file[place] as number) ^ 1;
      }
    };

    test("nothing is taken for what was written: a value", async () => {
      using dir = tempDir();
      await damaged(dir.path, (file) => flipEach(file, "[10250"));
      expect(() => openLmdbStore(dir.path)).toThrow(/is damaged: row\/250 is not what was written/);
    });

    test("nor a key that has become another one", async () => {
      using dir = tempDir();
      await damaged(dir.path, (file) => flipEach(file, "row/250"));
      expect(() => openLmdbStore(dir.path)).toThrow(/is damaged: row\/251 is not what was written/);
    });

    test("and no more is said of a key than one line holds", async () => {
      using dir = tempDir();
      const raw = openRaw(dir.path);
      await raw.put(Buffer.from([0]), Buffer.from("1"));
      await raw.put(Buffer.from(`row/\n${"x".repeat(500)}`), Buffer.from("12345"));
      await raw.close();
      const said = /is damaged: row\/\?x{115}\.\.\. is not what was written$/;
      expect(() => openLmdbStore(dir.path)).toThrow(said);
    });

    test("nor values with checksums for values without", async () => {
      using dir = tempDir();
      const store = openLmdbStore(dir.path);
      await store.commit([put("a", "1")]);
      await store.close();
      const raw = openRaw(dir.path);
      await raw.remove(Buffer.from([0]));
      await raw.close();
      expect(() => openLmdbStore(dir.path)).toThrow(/is damaged: its form/);
    });

    test("nor an entry that stands twice for one that is gone", async () => {
      using dir = tempDir();
      const [pageBytes, headBytes, flagsAt, leaf] = [4096, 24, 18, 2];
      await damaged(dir.path, (file) => {
        for (let page = 2 * pageBytes; page < file.length; page += pageBytes) {
          if (file.readUInt16LE(page + flagsAt) !== leaf) continue;
          // Where the page's entries lie in it: the second one is where the first one is.
          file.copyWithin(page + headBytes + 2, page + headBytes, page + headBytes + 2);
        }
      });
      expect(() => openLmdbStore(dir.path)).toThrow(/is damaged: .* is out of order/);
    });

    test("nor what is left where entries cannot be reached", async () => {
      using dir = tempDir();
      const all = Buffer.alloc(8);
      all.writeBigUInt64LE(BigInt(COUNT + 1));
      await damaged(dir.path, (file) => {
        const metaPages = file.subarray(0, 2 * 4096);
        const at = metaPages.lastIndexOf(all);
        file[at] = (file[at] as number) ^ 2;
      });
      expect(() => openLmdbStore(dir.path)).toThrow(/is damaged: 301 of 303 entries are there/);
    });
  });

  /** How a process of its own fared that opened the store, and what it said on its way. */
  const opensElsewhere = async (path: string) => {
    const store = new URL("../../adapters/lmdb-store.ts", import.meta.url).href;
    const program = `
      const { openLmdbStore } = await import(${JSON.stringify(store)});
      await openLmdbStore(${JSON.stringify(path)}).close();`;
    const words = ["--input-type=module", "--eval", program];
    const child = spawn(process.execPath, words, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (data: Buffer) => {
      said += data.toString();
    });
    const [, signal] = (await once(child, "close")) as [unknown, NodeJS.Signals | null];
    return { signal, said };
  };

  test("one that ends the process that opens it is named by the next process, before it opens it again", async () => {
    using dir = tempDir();
    const path = join(dir.path, "store");
    const store = openLmdbStore(path);
    await store.commit(Array.from({ length: 2_000 }, (_, n) => put(`row/${n}`, `[10${n},0]`)));
    await store.close();
    const data = join(path, "data.mdb");
    const whole = readFileSync(data);
    const pageBytes = 4096;
    const broken = Buffer.from(whole);
    for (let at = broken.indexOf("row/1500"); at >= 0; at = broken.indexOf("row/1500")) {
      const page = at - (at % pageBytes);
      broken.fill(0, page, page + pageBytes);
    }
    writeFileSync(data, broken);
    const named = `"event":"store_opening_again","path":"${path}"`;
    const first = await opensElsewhere(path);
    expect([first.signal, first.said.includes(named)]).toEqual(["SIGABRT", false]);
    const second = await opensElsewhere(path);
    expect([second.signal, second.said.includes(named)]).toEqual(["SIGABRT", true]);
    writeFileSync(data, whole);
    const third = await opensElsewhere(path);
    expect([third.signal, third.said.includes(named)]).toEqual([null, true]);
    const fourth = await opensElsewhere(path);
    expect([fourth.signal, fourth.said]).toEqual([null, ""]);
  });

  test("takes over what an earlier version wrote, and has checksums from then on", async () => {
    using dir = tempDir();
    const earlier = openRaw(dir.path);
    await earlier.put(Buffer.from("a"), Buffer.from("1"));
    await earlier.put(Buffer.from("b"), Buffer.from(""));
    await earlier.close();
    const full = openLmdbStore(dir.path, { freeBytesMin: Number.MAX_SAFE_INTEGER });
    expect(listed(full, "")).toEqual(["a=1", "b="]);
    await full.close();
    const store = openLmdbStore(dir.path);
    await store.commit([put("c", "3")]);
    expect(listed(store, "")).toEqual(["a=1", "b=", "c=3"]);
    await store.close();
    const again = openLmdbStore(dir.path);
    expect(listed(again, "")).toEqual(["a=1", "b=", "c=3"]);
    await again.close();
    const raw = openRaw(dir.path);
    expect((raw.get(Buffer.from("a")) as Buffer).length).toBe(1 + CHECKSUM_BYTES);
    await raw.close();
  });

  test("a path that cannot be a folder is a fault with its cause", () => {
    using dir = tempDir();
    const path = join(dir.path, "file");
    writeFileSync(path, "");
    expect(() => openLmdbStore(path)).toThrow(StoreFault);
  });
});

describe("twin's failures", () => {
  const failing = (fate: CommitFate) => {
    let fates: CommitFate[] = [];
    const store = twinStore({ commitFate: () => fates.shift() ?? "good" });
    const failNext = (): void => {
      fates = [fate];
    };
    return { store, failNext };
  };

  test("a commit that fails and was not persisted leaves no trace", async () => {
    const { store, failNext } = failing("fails_not_persisted");
    await store.commit([put("a", "1")]);
    failNext();
    await expect(store.commit([put("a", "2")])).rejects.toThrow(StoreFault);
    expect(text(store.get("a"))).toBe("1");
    expect(listed(store.crash(), "")).toEqual(["a=1"]);
  });

  test("a commit that fails may have been persisted all the same", async () => {
    const { store, failNext } = failing("fails_but_persisted");
    failNext();
    await expect(store.commit([put("a", "2")])).rejects.toThrow(StoreFault);
    expect(listed(store.crash(), "")).toEqual(["a=2"]);
  });

  test("a commit on top of one that failed conflicts if it was guarded by it", async () => {
    const { store, failNext } = failing("fails_not_persisted");
    failNext();
    const first = store.commit([put("a", "1")]);
    const second = store.commit([put("a", "2")], { key: "a", value: bytes("1") });
    await expect(first).rejects.toThrow(StoreFault);
    expect(await second).toBe("conflict");
    expect(store.get("a")).toBeUndefined();
  });

  test("a crash drops what had not reached the disk, and the old store is dead", async () => {
    const store = twinStore();
    await store.commit([put("a", "1")]);
    let settled = false;
    void store.commit([put("a", "2")]).finally(() => {
      settled = true;
    });
    const next = store.crash();
    await new Promise((resolve) => setImmediate(resolve));
    expect(settled).toBe(false);
    expect(listed(next, "")).toEqual(["a=1"]);
    expect(() => store.get("a")).toThrow(StoreFault);
  });

  test("a full disk refuses, and what is there can still be read and made smaller", async () => {
    const store = twinStore({ capacityBytes: 10 });
    await store.commit([put("a", "12345678")]);
    await expect(store.commit([put("b", "123456")])).rejects.toThrow(StoreFault);
    expect(listed(store, "")).toEqual(["a=12345678"]);
    expect(await store.commit([put("a", "1")])).toBe("committed");
  });
});
