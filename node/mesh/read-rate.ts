import type { Bucket, Rate } from "../../authority/rate.ts";
import type {
  Bucket as BucketMessage,
  Rate as RateMessage,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";

const COUNT_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** A rate off the wire; undefined when a bucket is missing or out of bounds. */
export function readRate(message: RateMessage | undefined): Rate | undefined {
  const req = readBucket(message?.requests);
  const tok = readBucket(message?.tokens);
  const usd_u = readBucket(message?.usdMicros);
  return req && tok && usd_u ? { req, tok, usd_u } : undefined;
}

function readBucket(message: BucketMessage | undefined): Bucket | undefined {
  if (message === undefined) return undefined;
  const { burst, amount, seconds } = message;
  if (burst > COUNT_MAX || amount > COUNT_MAX || seconds > COUNT_MAX || seconds < 1n) {
    return undefined;
  }
  return { burst: Number(burst), amount: Number(amount), seconds: Number(seconds) };
}
