// Entry of the command for every runtime, even one too old to read the rest of the program. The
// sources are TypeScript that Node 24 and newer run as they are; `npm ci` brings such a Node along
// and puts it first on the PATH of npm scripts, so an old system Node does not matter there.
const major = Number(process.versions.node.split(".")[0]);
if (major >= 24) {
  // Libuv reads this when its pool is first used, which nothing before this line has done.
  process.env.UV_THREADPOOL_SIZE ??= "16";
  // A coordinator works in its first thread, also in `up`. Before the cache: what was compiled under other flags is refused.
  if (process.argv[2] === "node") {
    const { boundNewObjects } = await import("./new-objects.js");
    boundNewObjects();
  }
  // Sources as they run, kept for later starts: what strips them of their types takes 10 MB and more of each thread that has
  // to. They lie beside the program, since whoever may write them decides what runs.
  process.env.NODE_COMPILE_CACHE ??= `${import.meta.dirname}/../.cache/compiled`;
  // One that was set to nothing is none; the engine would take the folder in which somebody stands.
  if (process.env.NODE_COMPILE_CACHE !== "") {
    const { enableCompileCache } = await import("node:module");
    enableCompileCache(process.env.NODE_COMPILE_CACHE);
  }
  const { builtProgram } = await import("./built-program.js");
  await import(builtProgram(new URL("..", import.meta.url)) ?? "./main.ts");
} else {
  console.error(
    `altrace needs Node 24 or newer, and this is ${process.versions.node}.\n` +
      "npm installs one beside the other packages where it exists for the platform " +
      "(Linux and macOS on x64 and arm64).\n" +
      "Run it through npm: `npm ci && npm start`, or `npm run -s altrace -- <words>`.\n" +
      "If you did, npm left the optional packages out: run `npm ci --include=optional`.",
  );
  process.exitCode = 1;
}
