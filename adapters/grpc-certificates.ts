import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { ServerCredentials } from "@grpc/grpc-js";
import { errorMessage } from "../ports/error-message.ts";

/** What a door over TLS shows and asks for, PEM. */
export type DoorCertificates = {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly clientCaPem: string;
};

export type DoorFiles = {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string;
};

/** Whoever hears of certificates that were replaced. */
type Hearing = {
  /** Connections were let in by an authority that is none any more. */
  readonly onOtherAuthority: () => void;
  /** With why not, where those before are shown on. */
  readonly onRenewed: ((error?: unknown) => void) | undefined;
};

/** A client certificate is required. What is shown and asked for can be replaced, for the connections from then on. */
export class DoorCredentials extends ServerCredentials {
  readonly #renewed: () => DoorCertificates | undefined;
  readonly #hearing: Hearing;
  #clientCaPem: string;

  /** @throws Error They are no certificates, or the key is of another. */
  constructor(
    certificates: DoorCertificates & { readonly renewed?: () => DoorCertificates | undefined },
    hearing: Hearing,
  ) {
    super({ requestCert: true, rejectUnauthorized: true }, contextOf(certificates));
    this.#renewed = certificates.renewed ?? (() => undefined);
    this.#clientCaPem = certificates.clientCaPem;
    this.#hearing = hearing;
  }

  /** Takes what was renewed. What does not belong together is told, and what was shown before is shown on. */
  look(): void {
    try {
      const certificates = this.#renewed();
      if (certificates === undefined) return;
      this.updateSecureContextOptions(contextOf(certificates));
      if (certificates.clientCaPem !== this.#clientCaPem) this.#hearing.onOtherAuthority();
      this.#clientCaPem = certificates.clientCaPem;
    } catch (error) {
      this.#hearing.onRenewed?.(error);
      return;
    }
    this.#hearing.onRenewed?.();
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/**
 * Reads a door's files again once they have changed, whether written in place, put in place, or behind another link.
 *
 * @returns Asks for what is new: undefined as long as nothing is. Throws the system's error, once for each change.
 */
export function renewedFiles(files: DoorFiles): () => DoorCertificates | undefined {
  let seen = stampOf(files);
  return () => {
    const stamp = stampOf(files);
    if (stamp === seen) return undefined;
    seen = stamp;
    return readCertificates(files);
  };
}

/** @throws The system's error for a file that cannot be read. */
export function readCertificates(files: DoorFiles): DoorCertificates {
  return {
    certificatePem: readFileSync(files.certificateFile, "utf8"),
    keyPem: readFileSync(files.keyFile, "utf8"),
    clientCaPem: readFileSync(files.clientCaFile, "utf8"),
  };
}

/**
 * Node takes anything for an authority, and for an empty one all authorities that the machine trusts; an empty
 * certificate or key it takes as well. grpc-js closes the door over the rest.
 */
function contextOf({ certificatePem, keyPem, clientCaPem }: DoorCertificates) {
  new X509Certificate(clientCaPem);
  if (!new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem))) {
    throw new Error("the key is another certificate's");
  }
  return { cert: certificatePem, key: keyPem, ca: clientCaPem };
}

function stampOf({ certificateFile, keyFile, clientCaFile }: DoorFiles): string {
  return [certificateFile, keyFile, clientCaFile].map(stampOfFile).join();
}

function stampOfFile(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (error) {
    // Told by whoever reads it.
    return errorMessage(error);
  }
}
