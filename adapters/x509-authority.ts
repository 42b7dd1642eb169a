import "reflect-metadata";
import { createPrivateKey, webcrypto } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import {
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  id_ce_nameConstraints,
  NameConstraints,
} from "@peculiar/asn1-x509";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

const crypto = webcrypto as unknown as Crypto;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Clocks of agents' machines may be behind. */
const BACKDATED_MS = 5 * 60_000;

/** A certificate and the private key that it speaks of, PEM. */
export type Authority = { readonly certificate: string; readonly privateKey: string };

/**
 * Makes the authority under which nodes look into TLS to model providers.
 *
 * ECDSA P-256: clients that do not take Ed25519 certificates are still many.
 */
export async function createRoot(of: {
  readonly name: string;
  readonly nowMs: number;
  readonly validMs: number;
}): Promise<Authority> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${of.name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity(of.nowMs, of.nowMs + of.validMs),
      extensions: [
        new BasicConstraintsExtension(true, 1, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  return { certificate: certificate.toString("pem"), privateKey: await exportKey(keys) };
}

/** A fresh key pair: the public half as SPKI, the private one as PEM. */
export async function createKeyPair(): Promise<{
  readonly publicKey: Uint8Array;
  readonly privateKey: string;
}> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const spki = await crypto.subtle.exportKey("spki", keys.publicKey);
  return { publicKey: new Uint8Array(spki), privateKey: await exportKey(keys) };
}

/**
 * Certifies a node's key: it may sign for the named hosts and what lies below them, for nothing else
 * and not for long. Clients check the constraint themselves.
 *
 * @param of.hosts At least one; without a name there is nothing that it could be good for.
 * @throws Error The public key is none.
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.10
 */
export async function certifyNode(of: {
  readonly root: Authority;
  readonly publicKey: Uint8Array;
  readonly name: string;
  readonly hosts: readonly string[];
  readonly nowMs: number;
  readonly notAfterMs: number;
}): Promise<string> {
  const issuer = new X509Certificate(of.root.certificate);
  const publicKey = await new PublicKey(of.publicKey as Uint8Array<ArrayBuffer>).export(
    ALGORITHM,
    ["verify"],
    crypto,
  );
  const certificate = await X509CertificateGenerator.create(
    {
      subject: `CN=${of.name}`,
      issuer: issuer.subject,
      publicKey,
      signingKey: await importKey(of.root.privateKey),
      signingAlgorithm: ALGORITHM,
      ...validity(of.nowMs, of.notAfterMs),
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        constrainedTo(of.hosts),
        await SubjectKeyIdentifierExtension.create(publicKey, false, crypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, crypto),
      ],
    },
    crypto,
  );
  return certificate.toString("pem");
}

/** Signs for a host with a node's certified key. Rejects for what the certificate is not good for. */
export async function certifyHost(of: {
  readonly intermediate: Authority;
  readonly publicKey: Uint8Array;
  readonly host: string;
  readonly nowMs: number;
}): Promise<string> {
  const issuer = new X509Certificate(of.intermediate.certificate);
  const publicKey = await new PublicKey(of.publicKey as Uint8Array<ArrayBuffer>).export(
    ALGORITHM,
    ["verify"],
    crypto,
  );
  const certificate = await X509CertificateGenerator.create(
    {
      subject: "CN=Altrace inspection",
      issuer: issuer.subject,
      publicKey,
      signingKey: await importKey(of.intermediate.privateKey),
      signingAlgorithm: ALGORITHM,
      ...validity(of.nowMs, issuer.notAfter.getTime()),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension([{ type: "dns", value: of.host }]),
        await SubjectKeyIdentifierExtension.create(publicKey, false, crypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, crypto),
      ],
    },
    crypto,
  );
  return certificate.toString("pem");
}

/** What a certificate of a process or a person is for. */
export type Subject = {
  readonly name: string;
  /** Names that it stands for: at least one. */
  readonly names: readonly { readonly type: "dns" | "ip" | "url"; readonly value: string }[];
  readonly use: "server" | "client";
};

/** A fresh key pair and its certificate under a root of ours, for one side of TLS alone. */
export async function issueCertificate(of: {
  readonly root: Authority;
  readonly subject: Subject;
  readonly nowMs: number;
  readonly notAfterMs: number;
}): Promise<Authority> {
  const { root, subject, nowMs, notAfterMs } = of;
  const issuer = new X509Certificate(root.certificate);
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const use = subject.use === "server" ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth;
  const certificate = await X509CertificateGenerator.create(
    {
      subject: `CN=${subject.name}`,
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: await importKey(root.privateKey),
      signingAlgorithm: ALGORITHM,
      ...validity(nowMs, notAfterMs),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([use]),
        new SubjectAlternativeNameExtension([...subject.names]),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, crypto),
      ],
    },
    crypto,
  );
  return { certificate: certificate.toString("pem"), privateKey: await exportKey(keys) };
}

function constrainedTo(hosts: readonly string[]): Extension {
  const permitted = hosts.map(
    (host) => new GeneralSubtree({ base: new GeneralName({ dNSName: host }) }),
  );
  const constraints = new NameConstraints({ permittedSubtrees: new GeneralSubtrees(permitted) });
  return new Extension(id_ce_nameConstraints, true, AsnConvert.serialize(constraints));
}

function validity(fromMs: number, untilMs: number) {
  return { notBefore: new Date(fromMs - BACKDATED_MS), notAfter: new Date(untilMs) };
}

async function exportKey({ privateKey }: { readonly privateKey: CryptoKey }): Promise<string> {
  const bytes = await crypto.subtle.exportKey("pkcs8", privateKey);
  const key = createPrivateKey({ key: Buffer.from(bytes), format: "der", type: "pkcs8" });
  return key.export({ format: "pem", type: "pkcs8" }) as string;
}

function importKey(pem: string): Promise<CryptoKey> {
  const bytes = createPrivateKey(pem).export({ format: "der", type: "pkcs8" });
  const key = new Uint8Array(bytes) as Uint8Array<ArrayBuffer>;
  return crypto.subtle.importKey("pkcs8", key, ALGORITHM, false, ["sign"]);
}
