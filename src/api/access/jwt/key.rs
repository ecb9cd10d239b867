//! One key of a JWKS, and the algorithms that it is for.

use ring::{
    hmac,
    signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey},
};
use sha2::{Digest, Sha256};

/// How a JWT is signed. `none` is no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub(super) const ALL: [(Self, &'static str); 12] = [
        (Self::Hs256, "HS256"),
        (Self::Hs384, "HS384"),
        (Self::Hs512, "HS512"),
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Ps256, "PS256"),
        (Self::Ps384, "PS384"),
        (Self::Ps512, "PS512"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
        (Self::EdDsa, "EdDSA"),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(it, _)| it)
    }
}

/// What a key is made of.
pub(super) enum Material {
    /// Modulus and exponent.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The point of a curve, uncompressed.
    P256(Vec<u8>),
    /// Likewise.
    P384(Vec<u8>),
    /// A point of Ed25519.
    Ed25519(Vec<u8>),
    /// A secret that both sides have.
    Secret(Vec<u8>),
}

impl Material {
    /// Whether it can be used in that way at all: no public key is ever taken for a secret.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512};
        use Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Self::P256(_) => algorithm == Es256,
            Self::P384(_) => algorithm == Es384,
            Self::Ed25519(_) => algorithm == EdDsa,
            Self::Secret(_) => matches!(algorithm, Hs256 | Hs384 | Hs512),
        }
    }
}

/// A key that verifies signatures.
pub(super) struct Key {
    kid: Option<Box<str>>,
    /// The one algorithm that it is for; else every one that fits what it is made of.
    algorithm: Option<Algorithm>,
    material: Material,
    id: u64,
}

impl Key {
    pub(super) fn new(
        kid: Option<Box<str>>,
        algorithm: Option<Algorithm>,
        material: Material,
    ) -> Self {
        let mut digest = Sha256::new();
        let (kind, parts): (u8, [&[u8]; 2]) = match &material {
            Material::Rsa { n, e } => (0, [n, e]),
            Material::P256(point) => (1, [point, b""]),
            Material::P384(point) => (2, [point, b""]),
            Material::Ed25519(point) => (3, [point, b""]),
            Material::Secret(secret) => (4, [secret, b""]),
        };
        digest.update(b"changeagent jwt key\0");
        digest.update([kind, algorithm.map_or(u8::MAX, |it| it as u8)]);
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let id = u64::from_le_bytes(std::array::from_fn(|n| digest[n]));
        Self { kid, algorithm, material, id }
    }

    /// What it is told by, here and on every node that has it: by what it is made of and for, not how it
    /// is called.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether a JWT may be signed with it in that way.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.material.fits(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether `signature` is one of `signed` in that way.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        let by = |way: &'static dyn signature::VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(way, point).verify(signed, signature).is_ok()
        };
        match &self.material {
            Material::Rsa { n, e } => rsa(algorithm).is_some_and(|way| {
                RsaPublicKeyComponents { n, e }.verify(way, signed, signature).is_ok()
            }),
            Material::P256(point) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(point) => by(&signature::ED25519, point),
            Material::Secret(secret) => {
                let way = match algorithm {
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    Algorithm::Hs512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::verify(&hmac::Key::new(way, secret), signed, signature).is_ok()
            }
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}
