// What `npm ci` runs at its end. Where the program cannot be built, as without the packages of developers or on a disk that
// is full, the sources are run as they are, and nothing is wrong.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  console.error("no program is built by this Node; `npm start` says which one is missing");
} else {
  await import("./build.ts").catch((error) => {
    console.error(`no program is built, and the sources are run as they are: ${error.message}`);
  });
}
