/**
 * Two named pipes to a program of this machine: what is asked goes out by one, and answers come back by
 * the other. Nothing here ever waits for the program: whoever asks looks again, and says for how long.
 */
export type TurnPipe = {
  /** False: nobody reads it, or it is full. */
  write(line: string): boolean;
  /** What has come meanwhile; "" for nothing. */
  read(): string;
  /** Lets another thread have the processor for about so long. */
  pause(microseconds: number): void;
  close(): void;
};
