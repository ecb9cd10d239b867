//! Values that a node signs and gives to a client, and that every node which was given the same root token
//! verifies, without asking anybody: sessions and tickets.
//!
//! ```text
//! u8 purpose · u8 kind of bearer · u64 its id · rights (34) · u64 expires · u64 until, 0 for ever ·
//! place (16) · nonce (12) · HMAC-SHA256 of all that (32)        numbers little-endian, moments in µs
//! ```
//!
//! As text it is base64 for URLs, without padding. Nothing in it is hidden, and nothing can be changed. The form may change with
//! any version: whoever has an older value logs in again.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use sha2::{Digest, Sha256};

use crate::base::{
    ids::Timestamp,
    secret::Secret,
    tokens::{Rights, TokenId},
};

/// What random bytes make of two values for the same two.
pub(super) const NONCE_BYTES: usize = 12;
const PLACE_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
const BYTES: usize = 1 + 1 + 8 + Rights::BYTES + 8 + 8 + PLACE_BYTES + NONCE_BYTES + TAG_BYTES;
/// Characters of a value as text.
pub(super) const SIGNED_CHARS: usize = BYTES / 3 * 4;
// Else the last character had bits that mean nothing, and a value several texts.
const _: () = assert!(BYTES.is_multiple_of(3));

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A session: whatever its bearer may do.
    Session,
    /// A ticket: one stream at that place.
    Ticket(Place),
}

/// The path of a stream, as a value names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place([u8; PLACE_BYTES]);

impl Place {
    /// That of a path, as it stands in a request.
    pub(super) fn of(path: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(path).into();
        Self(std::array::from_fn(|n| digest[n]))
    }
}

/// Whose rights a value gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// Those of who has the root token.
    Root,
    /// Those that the token of that id has by then.
    Token(TokenId),
    /// Those that a JWT said, as long as the key is known that it was signed with.
    Jwt {
        /// The key.
        key: u64,
        /// The rights.
        rights: Rights,
    },
}

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Whose rights it gives.
    pub(super) bearer: Bearer,
    /// From when on it opens nothing.
    pub(super) expires: Timestamp,
    /// When what it opened ends, if that is known.
    pub(super) until: Option<Timestamp>,
}

/// Why a value says nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignedError {
    /// It was not signed with this key, or for something else.
    Unknown,
    /// It is a ticket for another path.
    Elsewhere,
}

/// Signs values and verifies them.
pub(super) struct Signer(hmac::Key);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// That of all nodes with this root token.
    pub(super) fn new(root: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &root.signing_key()))
    }

    /// A value that says `claim`.
    pub(super) fn sign(&self, purpose: Purpose, claim: &Claim, nonce: [u8; NONCE_BYTES]) -> String {
        let (kind, id, rights) = match claim.bearer {
            Bearer::Root => (0, 0, None),
            Bearer::Token(id) => (1, id.0, None),
            Bearer::Jwt { key, rights } => (2, key, Some(rights)),
        };
        let (purpose, place) = match purpose {
            Purpose::Session => (1, [0; PLACE_BYTES]),
            Purpose::Ticket(Place(place)) => (2, place),
        };
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend([purpose, kind]);
        bytes.extend(id.to_le_bytes());
        bytes.extend(Rights::to_bytes(rights));
        bytes.extend(claim.expires.0.to_le_bytes());
        bytes.extend(claim.until.map_or(0, |until| until.0).to_le_bytes());
        bytes.extend(place);
        bytes.extend(nonce);
        let tag = hmac::sign(&self.0, &bytes);
        bytes.extend(tag.as_ref());
        assert_eq!(bytes.len(), BYTES, "the form is as long as it says");
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a value says that was signed for `purpose`, and its random bytes. Whether it has expired is
    /// looked at elsewhere.
    pub(super) fn verify(
        &self,
        purpose: Purpose,
        text: &[u8],
    ) -> Result<(Claim, [u8; NONCE_BYTES]), SignedError> {
        let unknown = SignedError::Unknown;
        if text.len() != SIGNED_CHARS {
            return Err(unknown);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown)?;
        let (said, tag) = bytes.split_at_checked(BYTES - TAG_BYTES).ok_or(unknown)?;
        // In constant time.
        hmac::verify(&self.0, said, tag).map_err(|_| unknown)?;
        let (place, said) = Said::of(said).ok_or(unknown)?;
        match (purpose, said.purpose) {
            (Purpose::Session, 1) => {}
            (Purpose::Ticket(own), 2) if own == place => {}
            (Purpose::Ticket(_), 2) => return Err(SignedError::Elsewhere),
            _ => return Err(unknown),
        }
        let bearer = match (said.kind, said.rights) {
            (0, None) => Bearer::Root,
            (1, None) => Bearer::Token(TokenId(said.id)),
            (2, Some(rights)) => Bearer::Jwt { key: said.id, rights },
            _ => return Err(unknown),
        };
        let until = (said.until > 0).then_some(Timestamp(said.until));
        Ok((Claim { bearer, expires: Timestamp(said.expires), until }, said.nonce))
    }
}

/// The parts of a value.
struct Said {
    purpose: u8,
    kind: u8,
    id: u64,
    rights: Option<Rights>,
    expires: u64,
    until: u64,
    nonce: [u8; NONCE_BYTES],
}

impl Said {
    fn of(bytes: &[u8]) -> Option<(Place, Self)> {
        let (&[purpose, kind], bytes) = bytes.split_first_chunk()?;
        let (id, bytes) = bytes.split_first_chunk()?;
        let (rights, bytes) = bytes.split_first_chunk()?;
        let (expires, bytes) = bytes.split_first_chunk()?;
        let (until, bytes) = bytes.split_first_chunk()?;
        let (place, bytes) = bytes.split_first_chunk()?;
        let nonce = *bytes.first_chunk()?;
        let said = Self {
            purpose,
            kind,
            id: u64::from_le_bytes(*id),
            rights: Rights::from_bytes(rights)?,
            expires: u64::from_le_bytes(*expires),
            until: u64::from_le_bytes(*until),
            nonce,
        };
        Some((Place(*place), said))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::base::tokens::{Role, Scope};

    const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
    const PATH: &str = "/tenants/acme/changes";

    fn signer(secret: &str) -> Signer {
        Signer::new(&Secret::new(secret).unwrap())
    }

    fn own() -> Signer {
        signer("0123456789-0123456789-0123456789-root")
    }

    fn claims() -> Vec<Claim> {
        let scope = Scope::Tenant(Uuid::from_u128(1));
        let rights = Rights { role: Role::Read, scope };
        let bearers = [Bearer::Root, Bearer::Token(TokenId(9)), Bearer::Jwt { key: 5, rights }];
        let expires = Timestamp(1_000);
        let untils = [None, Some(Timestamp(2_000))];
        let claims = bearers.map(|bearer| untils.map(|until| Claim { bearer, expires, until }));
        claims.into_iter().flatten().collect()
    }

    #[test]
    fn what_was_signed_is_read_back() {
        let signer = own();
        for purpose in [Purpose::Session, Purpose::Ticket(Place::of(PATH))] {
            for claim in claims() {
                let text = signer.sign(purpose, &claim, NONCE);
                assert_eq!(text.len(), SIGNED_CHARS);
                assert_eq!(signer.verify(purpose, text.as_bytes()), Ok((claim, NONCE)));
            }
        }
        assert_eq!(format!("{signer:?}"), "Signer");
    }

    #[test]
    fn a_value_is_good_for_what_it_was_made_for_alone() {
        let signer = own();
        let ticket = |path| Purpose::Ticket(Place::of(path));
        for claim in claims() {
            let session = signer.sign(Purpose::Session, &claim, NONCE);
            let of_path = signer.sign(ticket(PATH), &claim, NONCE);
            let verify = |purpose, text: &String| signer.verify(purpose, text.as_bytes());
            assert_eq!(verify(ticket(PATH), &session), Err(SignedError::Unknown));
            assert_eq!(verify(Purpose::Session, &of_path), Err(SignedError::Unknown));
            for other in ["", "/", "/changes", "/tenants/acme/changes/", "/tenants/Acme/changes"] {
                assert_eq!(verify(ticket(other), &of_path), Err(SignedError::Elsewhere), "{other}");
            }
            let other = signer_of_another_cluster();
            assert_eq!(
                other.verify(Purpose::Session, session.as_bytes()),
                Err(SignedError::Unknown)
            );
        }
    }

    fn signer_of_another_cluster() -> Signer {
        signer("0123456789-0123456789-0123456789-rooT")
    }

    #[test]
    fn every_bit_matters() {
        let signer = own();
        let purpose = Purpose::Ticket(Place::of(PATH));
        for claim in claims() {
            let bytes = URL_SAFE_NO_PAD.decode(signer.sign(purpose, &claim, NONCE)).unwrap();
            for at in 0..8 * bytes.len() {
                let mut wrong = bytes.clone();
                wrong[at / 8] ^= 1 << (at % 8);
                let text = URL_SAFE_NO_PAD.encode(wrong);
                let found = signer.verify(purpose, text.as_bytes());
                assert_eq!(found, Err(SignedError::Unknown), "bit {at}");
            }
        }
    }

    #[test]
    fn a_value_has_one_text() {
        let signer = own();
        let text = signer.sign(Purpose::Session, &claims()[0], NONCE);
        for at in 0..text.len() {
            for other in [b'A', b'z', b'-', b'_', b'=', b'+', b'/', b' ', 0, 0xff] {
                let mut wrong = text.clone().into_bytes();
                if wrong[at] != other {
                    wrong[at] = other;
                    assert!(signer.verify(Purpose::Session, &wrong).is_err(), "{at} {other}");
                }
            }
        }
        for wrong in [&text[1..], &format!("{text}="), &format!("{text}A"), ""] {
            assert!(signer.verify(Purpose::Session, wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_harm(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(own().verify(Purpose::Session, &text).is_err());
            let text = URL_SAFE_NO_PAD.encode(&text);
            prop_assert!(own().verify(Purpose::Session, text.as_bytes()).is_err());
        }
    }
}
