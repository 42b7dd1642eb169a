import { leafHash } from "../../audit/merkle.ts";
import { TileEdge } from "../../audit/tile-edge.ts";
import { costOf } from "./cost-of.ts";

const ENTRY = Buffer.alloc(500, "a record, as long as most are. ");

/** Hashes an entry of 500 bytes and appends it to the tree, tiles that it completes included. */
export function appendCost(): number {
  const edge = new TileEdge();
  return costOf(() => {
    edge.append(leafHash(ENTRY));
    return edge.size;
  });
}
