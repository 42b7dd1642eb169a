// Signatures of `pay 100` that implementations of Ed25519 are known to differ about: cofactored or not, strict or not
// about points of small order and about second spellings (RFC 8032, section 5.1.7; https://eprint.iacr.org/2020/1244).
// Made with the private seed of 32 bytes 9 and nonces from 123456789 on.

export type OddSignature = {
  readonly what: string;
  readonly key: string;
  readonly signature: string;
  /** What every implementation here says. */
  readonly isGood: boolean;
};

export const ODD_SIGNATURES: readonly OddSignature[] = [
  {
    what: "its own",
    key: "fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13c58ed702eac835e9f618",
    signature:
      "dcd5f2938405e6849dcf49828fc6cf8939e712e49636f51b4b7ebea871558327" +
      "27f23e5bd4cbda3a4ff4bfe8d6e8979afe32b9c9ca9b51d4dd97394415695b0c",
    isGood: true,
  },
  {
    what: "s + L",
    key: "fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13c58ed702eac835e9f618",
    signature:
      "dcd5f2938405e6849dcf49828fc6cf8939e712e49636f51b4b7ebea871558327" +
      "14c634b8ee2eed922591b78bb5e276affe32b9c9ca9b51d4dd97394415695b1c",
    isGood: false,
  },
  {
    what: "a nonce point with a part of order 8",
    key: "fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13c58ed702eac835e9f618",
    signature:
      "d0269f4d6e3acaeb0131ecbe03f232759b74c6cb3d3acc99908c859ab00e1e40" +
      "6646f6290eb103cb3d19706dd861eaf723a7e3bd7c886d8c3c362b6f8526420d",
    isGood: false,
  },
  {
    what: "a nonce point of order 1",
    key: "fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13c58ed702eac835e9f618",
    signature:
      "0100000000000000000000000000000000000000000000000000000000000000" +
      "885322af8b31301faeb77bc8e51b0787fca7c253a78cc0c8605fd3f5318ac603",
    isGood: false,
  },
  {
    what: "a nonce point that is spelt otherwise",
    key: "fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13c58ed702eac835e9f618",
    signature:
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f" +
      "3204e2cd796b086162e00176e52b25bbbdbdd55e7d046944c0d8918074940a0e",
    isGood: false,
  },
  {
    what: "a key with a part of order 8",
    key: "89efcb337ed91f3b84da152bc8259b69d5e87bf3589bf6a25aece585d5506d11",
    signature:
      "17ffad8068dc0de9935d36636f3ad1b5de6de3413b12388e453b05f2a4c1d3db" +
      "89eb3e361c5d3c87396f9561e5d80a189a35d4a06b20b00877972fe9e0067f0f",
    isGood: false,
  },
  {
    what: "a key with a part of order 8, which the hash cancels",
    key: "89efcb337ed91f3b84da152bc8259b69d5e87bf3589bf6a25aece585d5506d11",
    signature:
      "d79fff266b5e648a51a1460097edc2012539d49a26de63e3d5857cf501177523" +
      "1d2839d7c9940eada49a029db7df021d8de07c3841b26606ce709b2c93346106",
    isGood: true,
  },
  {
    what: "a key of order 8",
    key: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    signature:
      "1ae614456944fea38b9ae5c7743ec61d31d057b505c5bd6259bc8e87a7c7501c" +
      "18cd5b0700000000000000000000000000000000000000000000000000000000",
    isGood: false,
  },
  {
    what: "a key of order 1",
    key: "0100000000000000000000000000000000000000000000000000000000000000",
    signature:
      "17ffad8068dc0de9935d36636f3ad1b5de6de3413b12388e453b05f2a4c1d3db" +
      "15cd5b0700000000000000000000000000000000000000000000000000000000",
    isGood: false,
  },
  {
    what: "a key of order 1 that is spelt otherwise",
    key: "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    signature:
      "17ffad8068dc0de9935d36636f3ad1b5de6de3413b12388e453b05f2a4c1d3db" +
      "15cd5b0700000000000000000000000000000000000000000000000000000000",
    isGood: false,
  },
];
