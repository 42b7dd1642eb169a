/**
 * The way to a program of this machine that answers within the turn in which it is asked: a named pipe by
 * which questions go out, and a file in whose places answers lie. Nothing here ever waits for the program:
 * whoever asks looks again, and says for how long.
 */
export type TurnPipe = {
  /** False: nobody reads it, or it is full. */
  write(line: string): boolean;
  /** What lies at a place of the answers, from 0; "" when nothing can be read. */
  look(place: number): string;
  /** Lets another thread have the processor for about so long. */
  pause(microseconds: number): void;
  close(): void;
};
