use proptest::prelude::*;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{base::tokens::TokenId, state::fuzzing::catalog};

const TENANT: Uuid = Uuid::from_u128(0x0198_c0de_0000_4000_8000_0000_0000_0001);
const COLLECTION: Uuid = Uuid::from_u128(0x0198_c0de_0000_4000_8000_0000_0000_0002);
const AUDIENCE: &str = "changeagent";
const NOW_S: u64 = 1_800_000_000;
/// A JWT for the audience `ca`, signed by `openssl` with the key whose modulus this is.
const MODULUS: &str = "xn1gvw9rx76k00pKv-xsl7yb1YBJxDNMk3gxSKG5Q1u8uTWcLQiwx3pOyEBv044VhwQrh9QOHyeKTeJ7yA7tIRMkmQ_YOutP\
    uBy-vLid1Un-_hIk3KH4HUFox3nAnynHMA6E7Mt2CSSWm7nUxfSd9hBuvFZxBdNSC4wAxwS_mwgNW2VDk8o_xFhj_Zbr1JKX\
    Doq_KSIBYcVqfm2snitqvlwSKQNbNKN70bTyqgs60v7b1enlJUSTJGwsSVRrHxygWmr6eDpevvH-u9DMcxqVqb2-vZCvCsv2\
    P0Zg0nqEBlnx3oMDJZhpgdZ4ovWjGIMXmEbaRPpAoYRQDNKERAa_PQ";
/// The same.
const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJleHAiOjQxMDI0NDQ4MDAsImF1ZCI6ImNhIiwicm9sZSI6InJlYWQifQ.V6\
    GYxt-CjkU-4LAVOLUVAVuP78A8yYkMiyCXAjAK3N6zDyFYVtjYUwOqxWuuVtgx6cVYZf_c-ucFvd_rFISI2oIRpILc_iFFE3\
    ne33m_OVgU0hca2CcVWDQZ-Cm6wkufiViMDLDUNAQWIMQbFWJXLB6OoWoXU9uRbYT6aPmQDY7_UIkiWM7CdRlR4W95EOCzfB\
    UyBD2mXPTPHylWDwavDyednASk_wAo9vVSvCLnvYpCHKt9Vr2mns_rU6PJv3VJl5ldRlvVtRT1SNXOXVDWPT8mB6gCC19-Pf\
    SaBy1AifVrN9JLe2JrOQZTpJQbfziY6UjB6kOxipUWTsHF5HZfdQ";
/// Likewise.
const PS256: &str = "eyJhbGciOiJQUzI1NiIsImtpZCI6InIifQ.eyJleHAiOjQxMDI0NDQ4MDAsImF1ZCI6ImNhIiwicm9sZSI6InJlYWQifQ.JB\
    bVMlHcMSxFTCEtzsIs-RopujAedHE0fEvM28SCd71_cECFpkRdCrsszegH5sx5XrMwJ5AHNywN28QdrIV-m8-HudcWMPCxsj\
    zafQe-CspZwRHviwQ390ctvFSXgNQNacVZlu08iw8_t4gxiCKS0f8v8pW00UGptMScKanCCfEZeH5jC9Qrcu_OuYVhrc5c2I\
    GrvKlL9bsPrxO_wkSiAEZm2uN1UWgoBtQBXRr-ie56evKyAIwQJPM87JpzMyISz0Lmlpp32Tpy8xlRSeJEwHcQeL-uY1R74V\
    GvdXZTcXZEk1zPTDmU5kxWJffsAJnYV9v6L_2JNEMV46d2gSrH_Q";

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signed_by(header: &Value, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", text(header.to_string()), text(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", text(signature))
}

fn ed25519(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn jwk(kid: &str, pair: &Ed25519KeyPair) -> Value {
    let x = text(pair.public_key());
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig", "x": x})
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({"keys": keys}).to_string().into_bytes()
}

fn keys(all: &[Value]) -> JwtKeys {
    JwtKeys::new(&set(all), AUDIENCE).unwrap()
}

fn verified(keys: &JwtKeys, jwt: &str) -> Result<Principal, Refused> {
    let now = Timestamp(NOW_S * 1_000_000);
    keys.verify(jwt.as_bytes(), &catalog(TENANT, COLLECTION), now)
}

fn usual() -> Value {
    json!({"exp": NOW_S + 60, "aud": AUDIENCE, "role": "read"})
}

/// What comes of these claims, which are signed as they should be.
fn of_claims(claims: &str) -> Result<Principal, Refused> {
    let pair = ed25519(1);
    let header = json!({"alg": "EdDSA", "kid": "a"});
    let jwt = signed_by(&header, claims, |signed| pair.sign(signed).as_ref().to_vec());
    verified(&keys(&[jwk("a", &pair)]), &jwt)
}

fn with(name: &str, value: Value) -> String {
    let mut claims = usual();
    claims[name] = value;
    claims.to_string()
}

#[test]
fn a_jwt_gives_what_its_claims_say() {
    let principal = of_claims(&usual().to_string()).unwrap();
    assert_eq!(principal.rights, Some(Rights { role: Role::Read, scope: Scope::All }));
    assert_eq!(principal.expires, Some(Timestamp(NOW_S * 1_000_000 + 70_000_000)));
    assert!(matches!(principal.who, Who::Jwt(_)));
    for tenant in ["t", &TENANT.to_string()] {
        let principal = of_claims(&with("tenant", tenant.into())).unwrap();
        assert_eq!(principal.rights.unwrap().scope, Scope::Tenant(TENANT));
    }
    for (role, name) in Role::ALL {
        assert_eq!(of_claims(&with("role", name.into())).unwrap().rights.unwrap().role, role);
    }
    for aud in [json!([AUDIENCE]), json!(["x", AUDIENCE])] {
        assert!(of_claims(&with("aud", aud)).is_ok());
    }
    assert!(of_claims(&with("nbf", NOW_S.into())).is_ok());
    assert!(of_claims(&with("exp", json!(NOW_S as f64 + 0.5))).is_ok());
}

#[test]
fn what_is_wrong_with_claims_is_told_apart() {
    let of = |name, value| of_claims(&with(name, value)).unwrap_err();
    for exp in [json!(NOW_S - 10), json!(0), json!(1)] {
        assert_eq!(of("exp", exp), Refused::Expired);
    }
    assert!(of_claims(&with("exp", json!(NOW_S - 9))).is_ok(), "within the leeway");
    assert!(of_claims(&with("nbf", json!(NOW_S + 10))).is_ok(), "within the leeway");
    assert_eq!(of("nbf", json!(NOW_S + 11)), Refused::NotYet);
    for aud in [json!("x"), json!([]), json!(["x"]), json!("ChangeAgent"), json!("")] {
        assert_eq!(of("aud", aud), Refused::Audience);
    }
    for (name, value) in [
        ("exp", json!("1")),
        ("exp", json!(null)),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", json!("1")),
        ("nbf", json!(null)),
        ("nbf", json!(-1)),
        ("aud", json!(null)),
        ("aud", json!(1)),
        ("role", json!("root")),
        ("role", json!("READ")),
        ("role", json!(["read"])),
        // What cannot be read is not absent, which would be everything.
        ("tenant", json!(null)),
        ("tenant", json!(1)),
        ("tenant", json!("")),
        ("tenant", json!("nobody")),
        ("tenant", json!(["t"])),
    ] {
        assert_eq!(of(name, value.clone()), Refused::Claims, "{name} {value}");
    }
    for name in ["exp", "aud", "role"] {
        let mut claims = usual();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(of_claims(&claims.to_string()).unwrap_err(), Refused::Claims, "{name}");
    }
    let twice = r#"{"exp":1900000000,"aud":"changeagent","role":"read","role":"admin"}"#;
    assert_eq!(of_claims(twice).unwrap_err(), Refused::Claims);
    for nothing in ["", "[]", "null", "{", "\u{0}"] {
        assert_eq!(of_claims(nothing).unwrap_err(), Refused::Claims, "{nothing:?}");
    }
}

#[test]
fn every_kind_of_key_verifies_its_own_and_nothing_else() {
    let random = SystemRandom::new();
    let ring_key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let way = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let p256 = EcdsaKeyPair::from_pkcs8(way, ring_key.as_ref(), &random).unwrap();
    let (x, y) = p256.public_key().as_ref()[1..].split_at(32);
    let secret = [9; 32];
    let all = [
        jwk("ed", &ed25519(1)),
        json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": text(x), "y": text(y)}),
        json!({"kty": "oct", "alg": "HS256", "kid": "h", "k": text(secret)}),
        json!({"kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB"}),
    ];
    let known = keys(&all);
    let claims = usual().to_string();
    type Sign<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;
    let ways: [(&str, &str, Sign<'_>); 3] = [
        ("EdDSA", "ed", Box::new(|signed| ed25519(1).sign(signed).as_ref().to_vec())),
        ("ES256", "p", Box::new(|signed| p256.sign(&random, signed).unwrap().as_ref().to_vec())),
        (
            "HS256",
            "h",
            Box::new(|signed| {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                hmac::sign(&key, signed).as_ref().to_vec()
            }),
        ),
    ];
    for (alg, kid, sign) in &ways {
        for header in [json!({"alg": alg, "kid": kid}), json!({"alg": alg})] {
            assert!(verified(&known, &signed_by(&header, &claims, sign)).is_ok(), "{header}");
        }
        // Its signature under another key's name, and as another algorithm's.
        for (other, name, _) in &ways {
            for header in [json!({"alg": alg, "kid": name}), json!({"alg": other, "kid": kid})] {
                if (other, name) != (alg, kid) {
                    let refused = verified(&known, &signed_by(&header, &claims, sign));
                    assert!(matches!(refused, Err(Refused::Key | Refused::Signature)), "{header}");
                }
            }
        }
    }
    let of_rsa = JwtKeys::new(&set(&all), "ca").unwrap();
    assert!(verified(&of_rsa, RS256).is_ok() && verified(&of_rsa, PS256).is_ok());
    let pinned = json!({"kty": "RSA", "kid": "r", "alg": "RS256", "n": MODULUS, "e": "AQAB"});
    let pinned = JwtKeys::new(&set(&[pinned]), "ca").unwrap();
    assert!(verified(&pinned, RS256).is_ok());
    assert_eq!(verified(&pinned, PS256), Err(Refused::Key), "an alg of its own is the only one");
    // The modulus is no secret: whoever knows it signs nothing with it.
    let forged = signed_by(&json!({"alg": "HS256", "kid": "r"}), &claims, |signed| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(MODULUS).unwrap());
        hmac::sign(&key, signed).as_ref().to_vec()
    });
    assert_eq!(verified(&known, &forged), Err(Refused::Key));
}

#[test]
fn a_header_names_a_way_that_is_known_and_asks_for_nothing_more() {
    let pair = ed25519(1);
    let set = keys(&[jwk("a", &pair), jwk("b", &ed25519(2))]);
    let claims = usual().to_string();
    let of = |header: &Value| {
        let jwt = signed_by(header, &claims, |signed| pair.sign(signed).as_ref().to_vec());
        verified(&set, &jwt).map(|_| ())
    };
    assert_eq!(of(&json!({"alg": "EdDSA", "kid": "a", "typ": "JWT", "x5c": []})), Ok(()));
    assert_eq!(of(&json!({"alg": "EdDSA", "kid": "b"})), Err(Refused::Signature));
    // Two keys fit where none is named.
    assert_eq!(of(&json!({"alg": "EdDSA"})), Err(Refused::Key));
    for header in [
        json!({"alg": "none", "kid": "a"}),
        json!({"alg": "None", "kid": "a"}),
        json!({"alg": "eddsa", "kid": "a"}),
        json!({"alg": "", "kid": "a"}),
        json!({"alg": "EdDSA", "kid": "c"}),
        json!({"alg": "EdDSA", "kid": ""}),
        json!({"alg": "HS256", "kid": "a"}),
        json!({"alg": "RS256"}),
    ] {
        assert_eq!(of(&header), Err(Refused::Key), "{header}");
    }
    for header in [
        json!({"kid": "a"}),
        json!({"alg": null, "kid": "a"}),
        json!({"alg": "EdDSA", "kid": null}),
        json!({"alg": "EdDSA", "kid": 1}),
        json!({"alg": "EdDSA", "kid": "a", "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": "a", "crit": null}),
        json!([]),
    ] {
        assert_eq!(of(&header), Err(Refused::Unknown), "{header}");
    }
    // Without a signature at all.
    let bare = format!("{}.{}.", text(json!({"alg": "none"}).to_string()), text(&claims));
    assert_eq!(verified(&set, &bare), Err(Refused::Key));
}

#[test]
fn every_bit_of_a_jwt_matters() {
    let pair = ed25519(1);
    let set = keys(&[jwk("a", &pair)]);
    let header = json!({"alg": "EdDSA", "kid": "a"});
    let jwt =
        signed_by(&header, &usual().to_string(), |signed| pair.sign(signed).as_ref().to_vec());
    assert!(verified(&set, &jwt).is_ok());
    for at in 0..jwt.len() {
        for bit in 0..8 {
            let mut wrong = jwt.clone().into_bytes();
            wrong[at] ^= 1 << bit;
            let now = Timestamp(NOW_S * 1_000_000);
            let refused = set.verify(&wrong, &catalog(TENANT, COLLECTION), now);
            assert!(refused.is_err(), "bit {bit} of {at}");
        }
    }
    for wrong in [&jwt[1..], &jwt[..jwt.len() - 1], &format!("{jwt}="), &format!("{jwt}.")] {
        assert!(verified(&set, wrong).is_err());
    }
}

#[test]
fn a_key_that_is_gone_is_known_no_more() {
    let (a, b) = (ed25519(1), ed25519(2));
    let set_of = |keys: &[Value]| set(keys);
    let keys = keys(&[jwk("a", &a), jwk("b", &b)]);
    let ids: Vec<u64> = keys.current().ids().collect();
    let before = keys.generation();
    assert!(keys.replace(b"{}").is_err());
    assert_eq!((keys.generation(), keys.has(ids[0]), keys.has(ids[1])), (before, true, true));
    // By another name it is the same key.
    assert_eq!(keys.replace(&set_of(&[jwk("c", &b)])), Ok((1, 0)));
    assert!(keys.generation() > before && !keys.has(ids[0]) && keys.has(ids[1]));
    assert_ne!(Who::Jwt(ids[0]), Who::Token(TokenId(ids[0])));
}

#[test]
fn a_file_of_keys_is_read_and_what_is_wrong_with_it_is_told() {
    let good = jwk("a", &ed25519(1));
    let altered = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let of = |keys: &[Value]| JwtKeys::new(&set(keys), AUDIENCE).map(|keys| keys.counts());
    assert_eq!(of(std::slice::from_ref(&good)), Ok((1, 0)));
    assert_eq!(of(&[]), Ok((0, 0)));
    // Those that are for something else, or unknown, are left out.
    let left_out = [
        altered("use", json!("enc")),
        altered("key_ops", json!(["sign"])),
        altered("alg", json!("ES512")),
        altered("alg", json!("none")),
        altered("crv", json!("Ed448")),
        altered("kty", json!("new")),
    ];
    for key in &left_out {
        assert_eq!(of(std::slice::from_ref(key)), Err(KeySetError::None), "{key}");
        assert_eq!(of(&[good.clone(), key.clone()]), Ok((1, 1)), "{key}");
    }
    let rsa = json!({"kty": "RSA", "n": MODULUS, "e": "AQAB"});
    let short = json!({"kty": "RSA", "n": &MODULUS[..100], "e": "AQAB"});
    let oct = |k: &[u8], alg: Value| json!({"kty": "oct", "k": text(k), "alg": alg});
    for (keys, words) in [
        (vec![good.clone(), good.clone()], "its key 2 (kid \"a\") has the kid of another one"),
        (vec![altered("d", json!("x"))], "is a private one"),
        (vec![altered("x", json!("AAAA"))], "another length than 32 bytes"),
        (vec![altered("x", json!("=="))], "not base64url"),
        (vec![altered("x", json!(null))], "lacks a member"),
        (vec![altered("alg", json!("RS256"))], "an alg that does not fit"),
        (vec![altered("alg", json!("HS256"))], "an alg that does not fit"),
        (vec![short], "its key 1 (without kid) has a modulus of less than 2048"),
        (vec![oct(&[1; 32], json!(null))], "names no alg"),
        (vec![oct(&[1; 32], json!("EdDSA"))], "does not fit"),
        (vec![oct(&[1; 31], json!("HS256"))], "less than 32 bytes"),
        (vec![rsa; 65], "65 keys"),
        (vec![json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})], "another length"),
    ] {
        let told = of(&keys).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    for wrong in ["", "{", "[]", "{\"keys\":1}", "{\"keys\":[1]}", "{\"keys\":[{}]}"] {
        let told = JwtKeys::new(wrong.as_bytes(), AUDIENCE).unwrap_err();
        assert!(matches!(told, KeySetError::Form { .. }), "{wrong}: {told}");
    }
    let large = vec![b' '; JWKS_BYTES_MAX + 1];
    assert!(matches!(JwtKeys::new(&large, AUDIENCE), Err(KeySetError::TooLarge(_))));
}

proptest! {
    #[test]
    fn anything_is_refused_without_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        header in "\\PC{0,40}",
        claims in "\\PC{0,60}",
    ) {
        let keys = keys(&[jwk("a", &ed25519(1))]);
        let now = Timestamp(NOW_S * 1_000_000);
        let catalog = catalog(TENANT, COLLECTION);
        prop_assert!(keys.verify(&bytes, &catalog, now).is_err());
        let jwt = format!("{}.{}.{}", text(&header), text(&claims), text(&bytes));
        prop_assert!(keys.verify(jwt.as_bytes(), &catalog, now).is_err());
        let _ = JwtKeys::new(&bytes, AUDIENCE);
        let _ = JwtKeys::new(claims.as_bytes(), AUDIENCE);
    }

    #[test]
    fn any_claims_are_taken_or_refused(
        exp in any::<f64>(), nbf in any::<f64>(), role in "read|admin|x", tenant in "t|.{0,5}",
    ) {
        let claims = json!({"exp": exp, "nbf": nbf, "aud": AUDIENCE, "role": role, "tenant": tenant});
        if let Ok(principal) = of_claims(&claims.to_string()) {
            prop_assert!(role != "x" && tenant == "t");
            prop_assert!(principal.expires.unwrap().0 > NOW_S * 1_000_000);
        }
    }
}
