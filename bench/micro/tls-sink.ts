import { createServer } from "node:tls";
import { parentPort, workerData } from "node:worker_threads";

// Takes what is sent to it over TLS, and ends the connection, as a node does with what it refuses.

const { key, cert } = workerData as { readonly key: string; readonly cert: string };
const server = createServer({ key, cert }, (socket) => {
  socket.on("error", () => undefined);
  socket.resume();
  socket.on("end", () => socket.end());
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  parentPort?.postMessage(typeof address === "object" ? address?.port : 0);
});
