import { errorMessage } from "../../ports/error-message.ts";
import type { HostCommand } from "./host-command.ts";

// The optional programs in the kernel: they refuse a killed pod's connect() at once and count what each pod
// sends. Nothing rests on them: rules and routes are the wall, with them or without.
//
// B1. They are attached to each governed pod's own control group, and to nobody else's.
// B2. What is attached outlives this process, as rules do. A start attaches anew, in the place of what was.
// B3. A kernel that does not take them is said once; a pod whose group is not there yet is tried again with
//     the next change.

/** Names of the programs in the object file, each of which is also a kind of attachment. */
const PROGRAMS = ["connect4", "connect6", "sendmsg4", "sendmsg6", "sock_create", "egress"] as const;

/** A governed pod's group, by the path at which it is seen and the number by which the kernel knows it. */
export type PodGroup = { readonly path: string; readonly id: bigint };
export type EbpfPod = { readonly uid: string; readonly isKilled: boolean };

export type EbpfLayerDeps = {
  readonly run: HostCommand;
  /** The compiled programs. */
  readonly object: string;
  /** A folder of the BPF file system, of this program alone. */
  readonly pins: string;
  /** The pod's control group, as long as it has one. */
  readonly groupOf: (uid: string) => PodGroup | undefined;
  readonly onFault: (what: string) => void;
};

export class EbpfLayer {
  readonly #deps: EbpfLayerDeps;
  /** What was told the kernel of each pod. */
  readonly #attached = new Map<string, { isKilled: boolean }>();
  #wanted: readonly EbpfPod[] = [];
  #isLoaded = false;
  #isBusy = false;
  #told = "";

  constructor(deps: EbpfLayerDeps) {
    this.#deps = deps;
  }

  get podCount(): number {
    return this.#attached.size;
  }

  /** @returns False: the kernel does not take the programs, and the reason was told. */
  async load(): Promise<boolean> {
    const { run, object, pins } = this.#deps;
    // What is pinned may be of another version; what is attached stays until it is replaced.
    this.#attached.clear();
    await run("rm", ["-rf", pins]);
    await run("mkdir", ["-p", pins]);
    const words = ["prog", "loadall", object, `${pins}/programs`, "pinmaps", `${pins}/maps`];
    const { code, errors } = await run("bpftool", words);
    this.#isLoaded = code === 0;
    if (!this.#isLoaded) this.#fault(`not loaded: ${wordsOf(errors)}`);
    return this.#isLoaded;
  }

  /** The pods are these now, and these of them are killed. One change at a time; the last one wins. */
  async sync(pods: readonly EbpfPod[]): Promise<void> {
    this.#wanted = pods;
    if (!this.#isLoaded || this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (let done: readonly EbpfPod[] | undefined; done !== this.#wanted; ) {
        done = this.#wanted;
        await this.#each(done);
      }
    } catch (error) {
      this.#fault(errorMessage(error));
    } finally {
      this.#isBusy = false;
    }
  }

  async #each(pods: readonly EbpfPod[]): Promise<void> {
    const known = new Set(pods.map(({ uid }) => uid));
    // A group that is gone took its attachments along.
    for (const uid of this.#attached.keys()) if (!known.has(uid)) this.#attached.delete(uid);
    for (const { uid, isKilled } of pods) {
      const before = this.#attached.get(uid);
      if (before?.isKilled === isKilled) continue;
      const group = this.#deps.groupOf(uid);
      if (group === undefined) continue;
      const lines = before === undefined ? this.#attaching(group) : [];
      if (await this.#batch([...lines, this.#killing(group, isKilled)]))
        this.#attached.set(uid, { isKilled });
    }
  }

  #attaching({ path }: PodGroup): string[] {
    const { pins } = this.#deps;
    return PROGRAMS.map((one) => `cgroup attach ${path} ${one} pinned ${pins}/programs/${one}`);
  }

  #killing({ id }: PodGroup, isKilled: boolean): string {
    const key = Buffer.alloc(8);
    key.writeBigUInt64LE(id);
    const bytes = [...key].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const value = isKilled ? "01 00 00 00" : "00 00 00 00";
    return `map update pinned ${this.#deps.pins}/maps/killed key hex ${bytes} value hex ${value}`;
  }

  async #batch(lines: readonly string[]): Promise<boolean> {
    const { code, output, errors } = await this.#deps.run(
      "bpftool",
      ["batch", "file", "-"],
      `${lines.join("\n")}\n`,
    );
    if (code !== 0) this.#fault(`not attached: ${wordsOf(errors || output)}`);
    return code === 0;
  }

  #fault(what: string): void {
    if (what === this.#told) return;
    this.#told = what;
    this.#deps.onFault(what);
  }
}

/** What of many lines says why; the others are about the program's own modes. */
function wordsOf(errors: string): string {
  const lines = errors.trim().split("\n");
  return lines.find((line) => /error/i.test(line)) ?? (lines.at(-1) as string);
}
