import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { systemClock } from "../../../adapters/system-clock.ts";
import type { CommandContext } from "../../../cli/command-context.ts";
import { followCommand } from "../../../cli/commands/follow-command.ts";
import { createOutput } from "../../../cli/output.ts";
import {
  type CommandState,
  CommandStateSchema,
} from "../../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { waitUntil } from "../../support/wait-until.ts";

const CUT = {
  enforcedNs: 660_000n,
  closed: true,
  closedNs: 1_800_000n,
  durable: true,
  durableNs: 9n,
};

function stateOf(more: object): CommandState {
  return create(CommandStateSchema, { scope: "team/red", accepted: true, nodesTotal: 2, ...more });
}

/** An operator at a terminal whose coordinator says what the test has it say. */
function atTerminal(isTTY = true) {
  const said: string[] = [];
  const words: CommandState[] = [];
  let next = Promise.withResolvers<void>();
  const out = { isTTY, columns: 120, rows: 24, write: (text: string) => said.push(text) };
  const calls = {
    watchCommand: async function* () {
      for (;;) {
        const command = words.shift();
        if (command !== undefined) yield { command };
        if (command?.done) return;
        if (words.length === 0) await next.promise;
      }
    },
  };
  const context = {
    coordinator: () => ({ calls }),
    output: createOutput({ out, err: out }, false, {}),
  } as unknown as CommandContext;
  const say = (command: CommandState) => {
    words.push(command);
    next.resolve();
    next = Promise.withResolvers();
  };
  return { said, say, followed: followCommand(context, "c", 60_000) };
}

test("whoever waits at a terminal sees the bar grow, and how long a silent node may still go on", async () => {
  const { said, say, followed } = atTerminal();
  const containedAtMs = BigInt(systemClock.nowMs() + 20_000);
  const nodes = [{ node: "n1" }, { node: "n2", containedAtMs }];
  const shows = (...texts: string[]) =>
    waitUntil(texts.join(), () => said.some((one) => texts.every((text) => one.includes(text))));
  say(stateOf({ nodes }));
  await shows("[....................]  accepted  enforced 0/2", "n1  waited for", "n2  silent");
  say(
    stateOf({
      nodesEnforced: 1,
      nodesClosed: 1,
      nodesDurable: 1,
      nodes: [{ node: "n1", ack: CUT }, nodes[1] as object],
    }),
  );
  await shows("[##########..........]  accepted  enforced 1/2", "n1  enforced 0.66 ms");
  // Nothing new is said: the seconds go on by themselves.
  const secondsLeft = (text = "") => Number(/contained in (\d+) s/.exec(text)?.[1]);
  const left = secondsLeft(said.at(-1));
  // On a busy machine not every second is drawn.
  await waitUntil("fewer seconds", () => said.some((text) => secondsLeft(text) < left));
  const done = stateOf({ done: true, nodesContained: 1 });
  say(done);
  expect(await followed).toEqual(done);
  // The picture is taken away: the caller says the end.
  expect(said.findLast((text) => text !== "")?.endsWith("A\r\u001b[J")).toBe(true);
});

test("where there is no terminal each step is a line, and nothing is drawn", async () => {
  const { said, say, followed } = atTerminal(false);
  say(stateOf({}));
  say(stateOf({ nodesEnforced: 1 }));
  await waitUntil("the next step", () => said.join("").includes("enforced 1/2"));
  say(stateOf({ done: true }));
  await followed;
  expect(said.join("")).not.toContain("\u001b[J");
});
