import { readFileSync } from "node:fs";
import type { TrustPin } from "../mesh/trust.ts";
import { isName } from "../proto/ids.ts";

const PUBLIC_KEY_PATTERN = /^[0-9a-f]{64}$/;

/** trust.json is missing, or is not what it should be. */
export class TrustFileFault extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "TrustFileFault";
  }
}

/**
 * Reads what a node pins: `{"mesh": "<id>", "operator_public_key": "<64 hexadecimal digits>"}`.
 *
 * @throws TrustFileFault
 */
export function readTrustFile(path: string): TrustPin {
  const value = parse(path);
  const { mesh, operator_public_key: key } = value;
  if (typeof mesh !== "string" || !isName(mesh)) {
    throw new TrustFileFault(`${path}: mesh is not a name`);
  }
  if (typeof key !== "string" || !PUBLIC_KEY_PATTERN.test(key)) {
    throw new TrustFileFault(`${path}: operator_public_key is not 64 hexadecimal digits`);
  }
  return { mesh, operatorPublicKey: new Uint8Array(Buffer.from(key, "hex")) };
}

function parse(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new TrustFileFault(`${path} cannot be read`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TrustFileFault(`${path} holds no object`);
  }
  return value as Record<string, unknown>;
}
