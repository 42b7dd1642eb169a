/**
 * What lies beside the gate's socket: question and answers of the short way to the gate, and the pipe in which its
 * helper is told of connections that were taken in.
 */
export function gatePipes(gateSocket: string): {
  readonly ask: string;
  readonly say: string;
  readonly flows: string;
} {
  return {
    ask: `${gateSocket}.ask`,
    say: `${gateSocket}.answers`,
    flows: `${gateSocket}.flows`,
  };
}
