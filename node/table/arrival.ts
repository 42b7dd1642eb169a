/** The latest arrival time that is kept, monotonic ns: some 146 years, half of what a cell can count to. */
export const ARRIVAL_NS_MAX = 1n << 62n;

/** No later than that: a cell that ran over would be a bucket that is full. */
export function arrivalWithin(arrivalNs: bigint): bigint {
  return arrivalNs < ARRIVAL_NS_MAX ? arrivalNs : ARRIVAL_NS_MAX;
}
