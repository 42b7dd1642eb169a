import { connectLines, type LineConnection } from "../../adapters/line-socket.ts";
import { gateFiles } from "../support/kernel-enforcer.ts";
import type { KernelLab, Said } from "../support/kernel-lab.ts";
import { waitUntil } from "../support/wait-until.ts";

/** Asks the enforcer as a node does. */
export class Gate {
  readonly said: Said[] = [];
  readonly #connection: LineConnection;
  #lastNo = 0;

  private constructor(connection: LineConnection, said: Said[]) {
    this.#connection = connection;
    this.said = said;
  }

  static async open(lab: KernelLab): Promise<Gate> {
    const said: Said[] = [];
    const connection = connectLines(gateFiles(lab).socket, {
      onMessage: (message) => said.push(message as Said),
      onEnd: () => undefined,
    });
    await waitUntil("the gate", () => said.some(({ t }) => t === "pods"));
    return new Gate(connection, said);
  }

  async ask(question: object): Promise<Said> {
    const n = ++this.#lastNo;
    this.#connection.send({ ...question, n });
    const {
      t: _t,
      n: _n,
      ...rest
    } = await waitUntil("the gate's answer", () =>
      this.said.find((one) => one.t === "done" && one.n === n),
    );
    return rest;
  }

  close(): void {
    this.#connection.close();
  }
}
