/** One Ed25519 private key that never leaves its holder. */
export type Signer = {
  /** First 16 hexadecimal digits of SHA-256 of the raw public key. */
  readonly kid: string;
  /** Raw public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Raw signature, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
};

/** Key material and its use. Files hold PKCS#8 PEM, mode 0600. */
export type Keys = {
  /** Loads the key of that name, or makes and stores it when there is none. */
  loadOrCreate(name: string): Signer;
  /** Loads the key of that name; `undefined` when there is none. */
  load(name: string): Signer | undefined;
  /** False for a malformed key or signature, never a throw. */
  verify(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean;
};
