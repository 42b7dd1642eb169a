import { readFileSync } from "node:fs";
import type { WatchFile } from "../../ports/watch-file.ts";
import type { FromOutside } from "../archive/archive-worker.ts";
import { OutsideFileFault, readOutsideFile } from "./outside-file.ts";

/** The operator's file of witnesses as it was last understood. */
export type FollowedFile = {
  readonly text: string;
  /** Tells of it, and of what cannot be used, from now on. */
  follow(of: {
    readonly onText: (text: string) => void;
    readonly tell: (said: FromOutside) => void;
  }): void;
  close(): void;
};

/**
 * Reads the operator's file of witnesses, and reads it again whenever it has changed. What is not understood changes
 * nothing: the witnesses before stay, and that is told.
 *
 * @throws OutsideFileFault, or what the disk reports: it cannot be used at the start.
 */
export function followOutsideFile(path: string, watch: WatchFile): FollowedFile {
  let { text } = readOutsideFile(readFileSync(path));
  let cancel = (): void => undefined;
  return {
    get text() {
      return text;
    },
    follow: ({ onText, tell }) => {
      const refused = (detail: string): void =>
        tell({ t: "news", event: "outside_file_refused", fields: { detail } });
      const onChange = (bytes: Uint8Array): void => {
        try {
          const read = readOutsideFile(bytes);
          if (read.text === text) return;
          text = read.text;
          onText(text);
          const witnesses = read.places.map(({ name }) => name).join(" ");
          tell({ t: "news", event: "outside_file_taken", fields: { witnesses } });
        } catch (error) {
          if (!(error instanceof OutsideFileFault)) throw error;
          refused(error.message);
        }
      };
      cancel = watch({ path, onChange, onProblem: refused });
    },
    close: () => cancel(),
  };
}
