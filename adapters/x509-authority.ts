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
import { CERTIFIED_ALGORITHM, exportKey, generateKeys } from "./signing-keys.ts";

const crypto = webcrypto as unknown as Crypto;
/** Clocks of agents' machines may be behind. */
const BACKDATED_MS = 5 * 60_000;

/** A certificate and the private key that it speaks of, PEM. */
export type Authority = { readonly certificate: string; readonly privateKey: string };

/** Makes the authority under which nodes look into TLS to model providers. */
export async function createRoot(of: {
  readonly name: string;
  readonly nowMs: number;
  readonly validMs: number;
}): Promise<Authority> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${of.name}`,
      keys,
      signingAlgorithm: CERTIFIED_ALGORITHM,
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
  return signed({
    issuer: of.root,
    subject: `CN=${of.name}`,
    publicKey: await importPublicKey(of.publicKey),
    ...validity(of.nowMs, of.notAfterMs),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      constrainedTo(of.hosts),
    ],
  });
}

/** Signs for a host with a node's certified key. Rejects for what the certificate is not good for. */
export async function certifyHost(of: {
  readonly intermediate: Authority;
  readonly publicKey: Uint8Array;
  readonly host: string;
  readonly nowMs: number;
}): Promise<string> {
  const { notAfter } = new X509Certificate(of.intermediate.certificate);
  return signed({
    issuer: of.intermediate,
    subject: "CN=Altrace inspection",
    publicKey: await importPublicKey(of.publicKey),
    ...validity(of.nowMs, notAfter.getTime()),
    extensions: leafExtensions("server", [{ type: "dns", value: of.host }]),
  });
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
  const keys = await generateKeys();
  const certificate = await signed({
    issuer: root,
    subject: `CN=${subject.name}`,
    publicKey: keys.publicKey,
    ...validity(nowMs, notAfterMs),
    extensions: leafExtensions(subject.use, subject.names),
  });
  return { certificate, privateKey: await exportKey(keys) };
}

/** Signs with the issuer's key; both keys' identifiers are added. @returns PEM. */
async function signed(of: {
  readonly issuer: Authority;
  readonly subject: string;
  readonly publicKey: CryptoKey;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Extension[];
}): Promise<string> {
  const { issuer: authority, publicKey, extensions, ...rest } = of;
  const issuer = new X509Certificate(authority.certificate);
  const certificate = await X509CertificateGenerator.create(
    {
      ...rest,
      issuer: issuer.subject,
      publicKey,
      signingKey: await importKey(authority.privateKey),
      signingAlgorithm: CERTIFIED_ALGORITHM,
      extensions: [
        ...extensions,
        await SubjectKeyIdentifierExtension.create(publicKey, false, crypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, crypto),
      ],
    },
    crypto,
  );
  return certificate.toString("pem");
}

/** Of one that signs for nobody: good for one side of TLS under these names. */
function leafExtensions(use: Subject["use"], names: Subject["names"]): readonly Extension[] {
  const { serverAuth, clientAuth } = ExtendedKeyUsage;
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([use === "server" ? serverAuth : clientAuth]),
    new SubjectAlternativeNameExtension([...names]),
  ];
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

function importPublicKey(spki: Uint8Array): Promise<CryptoKey> {
  return new PublicKey(spki as Uint8Array<ArrayBuffer>).export(
    CERTIFIED_ALGORITHM,
    ["verify"],
    crypto,
  );
}

function importKey(pem: string): Promise<CryptoKey> {
  const bytes = createPrivateKey(pem).export({ format: "der", type: "pkcs8" });
  const key = new Uint8Array(bytes) as Uint8Array<ArrayBuffer>;
  return crypto.subtle.importKey("pkcs8", key, CERTIFIED_ALGORITHM, false, ["sign"]);
}
