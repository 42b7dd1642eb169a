import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KernelLab, type Speaker } from "../../test/support/kernel-lab.ts";
import { NATS_CURRENT } from "../../test/support/nats-programs.ts";
import { NODE } from "../../test/support/run-altrace.ts";
import { runHere } from "../../test/support/run-here.ts";
import { waitUntil } from "../../test/support/wait-until.ts";
import {
  launchNode,
  ownedFolder,
  PROXY_UID,
  policyFile,
  readableFile,
  startAround,
  wordOf,
} from "./kernel-machine.ts";
import { TARGET } from "./mesh-under-test.ts";

/** `up`: node, coordinator and bus are one process. `node`: they are three, over a real nats-server. */
export type MeshForm = "up" | "node";

/** A node behind a launcher that replaces it when it is asked to. */
export type ReplacedNode = Disposable & {
  readonly lab: KernelLab;
  /** Resolves once the next one serves and the one before is gone. */
  replace(): Promise<void>;
};

const NATS_URL = "nats://127.0.0.1:4222";
const COORDINATOR_PORTS = "5000";
/** Short, so that a connection that is kept does not make the bench long. */
const DRAIN_MS = "1000";

export async function startReplaced(form: MeshForm): Promise<ReplacedNode> {
  using stack = new DisposableStack();
  const lab = stack.use(new KernelLab());
  const { certificate } = await startAround(lab);
  const args = form === "up" ? wordsOfUp(lab) : await wordsOfNode(lab);
  const env = { ALTRACE_DRAIN_MS: DRAIN_MS };
  const launcher = launchNode(lab, { certificate, args, flags: ["--early"], env });
  const starts = () =>
    launcher.said.filter(({ ready, event }) => ready ?? event === "started").length;
  await waitUntil(
    () => `the node: ${tail(launcher)}`,
    () => starts() === 1,
  );
  const owned = stack.move();
  return {
    lab,
    replace: async () => {
      const before = starts();
      const proxies = () => lab.running("node", { uid: PROXY_UID, word: "altrace.js" });
      if (lab.signal("node", { uid: 0, word: "altrace-launcher\0--port" }, "SIGHUP") !== 1)
        throw new Error("the launcher is not there");
      await waitUntil(
        () => `the next node: ${tail(launcher)}`,
        () => starts() > before && proxies().length === 1,
      );
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function wordsOfUp(lab: KernelLab): readonly string[] {
  return ["up", "--json", "--home", ownedFolder(lab, "home"), "--policy", policyFile(lab)];
}

/** A mesh is founded by its operator, as by hand. */
async function wordsOfNode(lab: KernelLab): Promise<readonly string[]> {
  const home = join(lab.folder, "c");
  mkdirSync(home, { mode: 0o700 });
  const { program } = NATS_CURRENT;
  const nats = program !== undefined && existsSync(program) ? program : "nats-server";
  const config = `listen: "127.0.0.1:4222"\njetstream { store_dir: "${lab.folder}/js", max_mem: 64M, max_file: 2G }\n`;
  lab.speak("node", [nats, "-c", readableFile(lab, "nats.conf", config)]);
  const ports = ["--port-base", COORDINATOR_PORTS];
  const words = ["coordinator", "--home", home, "--nats-url", NATS_URL, ...ports];
  const coordinator = lab.speak("node", [NODE, "cli/altrace.js", ...words]);
  for (const word of ["started", "ledger_led"])
    await wordOf(coordinator, ({ msg }) => msg === word);
  const cli = async (...said: string[]): Promise<string> => {
    const done = await runHere(...said, "--home", home);
    if (done.code !== 0) throw new Error(`altrace ${said.join(" ")}: ${done.stdout}${done.stderr}`);
    return done.stdout;
  };
  // It takes an operator's word once it has read the streams that it has just made.
  await waitUntil("the policy", () => cli("policy", "apply", policyFile(lab)).catch(() => false));
  // Whose pod it is the pod list says; that there is such an agent, the mesh.
  await cli("key", "issue", TARGET);
  const token = (await cli("token", "n1")).trim();
  const trust = readableFile(lab, "trust.json", readFileSync(join(home, "trust.json"), "utf8"));
  const own = ["--home", ownedFolder(lab, "home"), "--trust", trust, "--enrol", token];
  return ["node", ...own, "--nats-url", NATS_URL, "--node-id", "n1"];
}

function tail(by: Speaker): string {
  return JSON.stringify(by.said.slice(-10));
}
