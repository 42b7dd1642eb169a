/** What a program of the machine said. `code` is null when it could not be started or was ended. */
export type HostOutcome = {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
};

/** Runs one program without a shell, hands it `input`, and waits for its end. Never rejects. */
export type HostCommand = (
  program: string,
  args: readonly string[],
  input?: string,
) => Promise<HostOutcome>;

/**
 * Starts a program that says a line now and then, and is listened to until it ends or the returned
 * function is called.
 */
export type HostFollow = (
  program: string,
  args: readonly string[],
  on: { readonly line: (line: string) => void; readonly end: () => void },
) => () => void;
