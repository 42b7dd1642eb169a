import { holdInstance, InstanceFault } from "../../adapters/instance-lock.ts";

/** A process that holds an instance until it is killed, and says on stdout how that went. */
const [home, port, socketPath] = process.argv.slice(2) as [string, string, string | undefined];
try {
  await holdInstance({
    home,
    socketPaths: socketPath === undefined ? [] : [socketPath],
    ports: port === "0" ? [] : [{ host: "127.0.0.1", port: Number(port) }],
  });
  process.stdout.write("held\n");
  setInterval(() => {}, 60_000);
} catch (error) {
  process.stdout.write(`${error instanceof InstanceFault ? error.message : String(error)}\n`);
}
