import { spawn } from "node:child_process";
import { Resolver } from "node:dns/promises";
import {
  ANSWERED,
  type CanaryWay,
  type NameWay,
  type PacketWay,
  UNABLE,
} from "../ports/canary-way.ts";
import { attemptAsked, attemptTarget } from "./canary-sockets.ts";

const NAME_MS = 1_000;
const PACKETS_MS = 4_000;

/**
 * Tries every way, all at once.
 *
 * @param program What writes packets.
 * @returns What became of each, in their order.
 */
export async function attemptWays(
  ways: readonly CanaryWay[],
  program: string,
): Promise<readonly string[]> {
  const packets = attemptPackets(
    ways.filter((way): way is PacketWay => way.by === "packet"),
    program,
  );
  return Promise.all(
    ways.map(async (way) => {
      if (way.by === "name") return attemptName(way);
      if (way.by === "packet") return (await packets)(way);
      return way.by === "question" ? attemptAsked(way) : attemptTarget(way);
    }),
  );
}

/** Resolves, once all were sent, to what became of each. */
function attemptPackets(
  ways: readonly PacketWay[],
  program: string,
): Promise<(way: PacketWay) => string> {
  return new Promise((resolve) => {
    const child = spawn(program, [], {
      stdio: ["pipe", "pipe", "ignore"],
      timeout: PACKETS_MS,
      killSignal: "SIGKILL",
    });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1");
    });
    // One that ends early does not read all of it; how it ends says enough.
    child.stdin.on("error", () => undefined);
    child.on("error", () => resolve(() => UNABLE));
    child.on("close", (code) => {
      const answered = new Set(said.split("\n"));
      resolve(({ word }) => {
        if (code !== 0) return UNABLE;
        return answered.has(`${word} ${ANSWERED}`) ? ANSWERED : "silence";
      });
    });
    child.stdin.end(
      ways.map(({ word, form, host, port }) => `${word} ${form} ${host} ${port}\n`).join(""),
    );
  });
}

/** Nothing is of use that answers but a refusal: the node's own says no to whoever is no agent, whatever is asked. */
async function attemptName({ word }: NameWay): Promise<string> {
  const resolver = new Resolver({ timeout: NAME_MS, tries: 1 });
  try {
    await resolver.resolve4(`${word}.invalid`);
    return ANSWERED;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOTFOUND" || code === "ENODATA" ? ANSWERED : (code ?? "error");
  }
}
