import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { clusterApi } from "../../../../adapters/cluster-api.ts";
import { systemClock } from "../../../../adapters/system-clock.ts";
import type { Pod } from "../../../../node/kernel/pod.ts";
import { type ClusterApi, ClusterFault, PodWatch } from "../../../../node/kernel/pod-watch.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const shown = (name: string, version: number, ip = "10.0.0.1") => ({
  metadata: { uid: name, name, namespace: "n", resourceVersion: String(version) },
  status: { phase: "Running", podIP: ip },
});

/** Speaks the watch protocol as the API does, over a real connection. */
class FakeCluster {
  readonly asked: URL[] = [];
  readonly tokens: (string | undefined)[] = [];
  items = [shown("one", 10)];
  version = 10;
  /** What the next watch is answered with in place of a stream. */
  refuse: number | undefined;
  #watch: ServerResponse | undefined;
  readonly #server = createServer((request, response) => this.#serve(request, response));

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get watches(): readonly URL[] {
    return this.asked.filter((url) => url.searchParams.has("watch"));
  }

  get isWatched(): boolean {
    return this.#watch !== undefined;
  }

  say(type: string, object: object): void {
    this.#watch?.write(`${JSON.stringify({ type, object })}\n`);
  }

  endWatch(): void {
    const watch = this.#watch;
    this.#watch = undefined;
    watch?.end();
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "", "http://x");
    this.asked.push(url);
    this.tokens.push(request.headers.authorization);
    if (!url.searchParams.has("watch")) {
      const metadata = { resourceVersion: String(this.version) };
      response.end(JSON.stringify({ kind: "PodList", metadata, items: this.items }));
      return;
    }
    if (this.refuse !== undefined) {
      response.statusCode = this.refuse;
      this.refuse = undefined;
      response.end("{}");
      return;
    }
    response.flushHeaders();
    this.#watch = response;
  }
}

describe("the watch over a machine's pods", () => {
  let cluster: FakeCluster;
  let watch: PodWatch;
  let told: (readonly Pod[])[];
  let faults: string[];
  let folder: string;
  const names = () => (told.at(-1) ?? []).map(({ name }) => name).sort();
  const namesAre = (...wanted: string[]) =>
    waitUntil(
      () => `the pods ${wanted}, not ${names()}`,
      () => told.length > 0 && names().join() === wanted.join(),
    );
  const watched = () => waitUntil("a watch", () => cluster.isWatched);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "altrace-"));
    writeFileSync(join(folder, "token"), "first\n");
    cluster = new FakeCluster();
    told = [];
    faults = [];
    watch = new PodWatch({
      api: clusterApi(await cluster.listen(), folder, (text, code) => new ClusterFault(text, code)),
      clock: systemClock,
      node: "machine-1",
      exemptNamespaces: [],
      onFault: (what) => faults.push(what),
    });
    watch.start((pods) => told.push(pods));
    await watched();
  });
  afterEach(() => {
    watch.stop();
    cluster.close();
    rmSync(folder, { recursive: true });
  });

  test("asks for this machine's pods alone, and follows them", async () => {
    await namesAre("one");
    expect(
      cluster.asked.every(
        (url) => url.searchParams.get("fieldSelector") === "spec.nodeName=machine-1",
      ),
    ).toBe(true);
    cluster.say("ADDED", shown("two", 11, "10.0.0.2"));
    await namesAre("one", "two");
    cluster.say("DELETED", shown("one", 12));
    await namesAre("two");
    const ended = { ...shown("two", 13), status: { phase: "Succeeded", podIP: "10.0.0.2" } };
    cluster.say("MODIFIED", ended);
    await namesAre();
    expect(watch.staleBecause()).toBeUndefined();
  });

  test("W2: is taken up where a bookmark left it, with the token of that moment", async () => {
    cluster.say("BOOKMARK", { metadata: { resourceVersion: "500" } });
    cluster.say("ADDED", shown("two", 501, "10.0.0.2"));
    cluster.say("BOOKMARK", { metadata: { resourceVersion: "900" } });
    await namesAre("one", "two");
    writeFileSync(join(folder, "token"), "second\n");
    cluster.endWatch();
    await watched();
    expect(cluster.watches.map((url) => url.searchParams.get("resourceVersion"))).toEqual([
      "10",
      "900",
    ]);
    expect(
      cluster.watches.every((url) => url.searchParams.get("allowWatchBookmarks") === "true"),
    ).toBe(true);
    expect(cluster.tokens).toEqual(["Bearer first", "Bearer first", "Bearer second"]);
    await namesAre("one", "two");
  });

  test.each(["as a status", "within the watch"])(
    "W3: lists anew when its place is forgotten, told %s",
    async (how) => {
      await namesAre("one");
      cluster.items = [shown("three", 20, "10.0.0.3")];
      cluster.version = 20;
      if (how === "as a status") {
        cluster.refuse = 410;
        cluster.endWatch();
      } else {
        cluster.say("ERROR", { kind: "Status", code: 410 });
        cluster.endWatch();
      }
      await namesAre("three");
      await watched();
      expect(cluster.watches.at(-1)?.searchParams.get("resourceVersion")).toBe("20");
      expect(faults).toEqual([]);
    },
  );

  test("W4: keeps its last list while the API refuses, and says that it does", async () => {
    await namesAre("one");
    cluster.refuse = 403;
    cluster.endWatch();
    await waitUntil("the fault", () => faults.length > 0);
    expect(faults[0]).toContain("403");
    expect(names()).toEqual(["one"]);
    await watched();
    cluster.say("ADDED", shown("two", 11, "10.0.0.2"));
    await namesAre("one", "two");
  });

  test("does not take a line that is none for a change", async () => {
    await namesAre("one");
    cluster.say("ADDED", { metadata: {} });
    await waitUntil("the fault", () => faults.length > 0);
    expect(names()).toEqual(["one"]);
  });
});

test("W4: an API that takes no watch up is told, however often it is asked", async () => {
  const clock = twinClock();
  let takesUp = false;
  let asked = 0;
  const api: ClusterApi = {
    list: async () => ({ metadata: { resourceVersion: "1" }, items: [] }),
    watch: async (_path, { begun }) => {
      asked += 1;
      if (!takesUp) throw new ClusterFault("nobody answers");
      begun();
      await new Promise(() => undefined);
    },
  };
  const watch = new PodWatch({
    ...{ api, clock, node: "machine-1", exemptNamespaces: [] },
    onFault: () => undefined,
  });
  watch.start(() => undefined);
  for (let second = 0; second < 30; second += 1) {
    clock.advance(1_000);
    await setImmediate();
  }
  expect(asked).toBeGreaterThan(3);
  expect(watch.staleBecause()).toContain("silent");
  takesUp = true;
  clock.advance(20_000);
  await setImmediate();
  expect(watch.staleBecause()).toBeUndefined();
  watch.stop();
});
