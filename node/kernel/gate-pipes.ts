/** Question and answers of the short way to the gate lie beside the gate's socket. */
export function gatePipes(gateSocket: string): { readonly ask: string; readonly say: string } {
  return { ask: `${gateSocket}.ask`, say: `${gateSocket}.answers` };
}
