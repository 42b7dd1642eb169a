import { leafHash } from "../../audit/merkle.ts";
import { TileEdge } from "../../audit/tile-edge.ts";
import { type CostBeside, costBeside } from "./cost-of.ts";

const ENTRY = Buffer.alloc(500, "a record, as long as most are. ");

/** Hashes an entry of 500 bytes and appends it to the tree, tiles that it completes included. */
export function appendCost(): CostBeside {
  const edge = new TileEdge();
  return costBeside(() => {
    edge.append(leafHash(ENTRY));
    return edge.size;
  });
}
