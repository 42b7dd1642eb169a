import { request } from "node:http";
import { parentPort, workerData } from "node:worker_threads";

/** What a thread of clients is to do: all of them at once, each with one body. */
export type PostingOrder = {
  readonly host: string;
  readonly port: number;
  readonly clients: number;
  readonly bodyBytes: number;
  readonly chunked: boolean;
};

const order = workerData as PostingOrder;
const body = Buffer.alloc(order.bodyBytes, "a");

parentPort?.postMessage(await Promise.all(Array.from({ length: order.clients }, post)));

/** Status and code of the answer, or the error that the client saw in its place. */
function post(): Promise<string> {
  const { host, port, chunked } = order;
  const headers = chunked ? { "transfer-encoding": "chunked" } : { "content-length": body.length };
  return new Promise((resolve) => {
    const sending = request({ host, port, method: "POST", headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("error", (error: NodeJS.ErrnoException) => resolve(`answer ${error.code}`));
      answer.on("end", () => resolve(`${answer.statusCode} ${JSON.parse(text).error.code}`));
    });
    sending.on("error", (error: NodeJS.ErrnoException) => resolve(`request ${error.code}`));
    sending.end(body);
  });
}
