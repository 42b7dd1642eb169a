import { setFlagsFromString } from "node:v8";

/**
 * Keeps what is new in a thread's heap to the room that it starts with: 1 MiB here, twice that with the copies. The engine
 * would let it grow to 32 MiB where much lives on for a while, as when ten thousand keys are read, and gives nothing back.
 *
 * Other threads start with all that they are given (`maxYoungGenerationSizeMb`), or with 8 MiB of it: what a data loop has.
 * The engine's own bound for this thread is read before any of our code is run, and as a flag of the process it would
 * be in place of those of all threads.
 */
export function boundNewObjects() {
  setFlagsFromString("--semi-space-growth-factor=1");
  setFlagsFromString("--min-semi-space-size=8");
}
