//! What a JWT says of who bears it. What is there must be of its kind: a claim that cannot be read is never
//! taken for one that is absent.

use serde::{Deserialize, Deserializer};

use crate::{
    api::access::refused::Refused,
    base::{ids::Timestamp, moment::MOMENT_MAX},
};

/// How far the clocks of who signs and of the node may lie apart.
pub(super) const LEEWAY_MICROS: u64 = 10 * 1_000_000;

/// The claims that count. Each may be given once.
#[derive(Deserialize)]
pub(super) struct Claims {
    exp: f64,
    #[serde(default, deserialize_with = "claim")]
    nbf: Option<f64>,
    aud: Audience,
    pub(super) role: String,
    /// By its UUID or its name; everything where there is none.
    #[serde(default, deserialize_with = "claim")]
    pub(super) tenant: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A claim that may be absent, but not `null`.
pub(super) fn claim<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Claims {
    /// Until when they are good, if they are for `audience` and good at that moment.
    pub(super) fn check(&self, audience: &str, now: Timestamp) -> Result<Timestamp, Refused> {
        let is_for = match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        };
        if !is_for {
            return Err(Refused::Audience);
        }
        let expires = micros(self.exp).ok_or(Refused::Claims)?.saturating_add(LEEWAY_MICROS);
        if expires <= now.0 {
            return Err(Refused::Expired);
        }
        if let Some(begins) = self.nbf
            && micros(begins).ok_or(Refused::Claims)? > now.0.saturating_add(LEEWAY_MICROS)
        {
            return Err(Refused::NotYet);
        }
        Ok(Timestamp(expires))
    }
}

/// Seconds since 1970 as microseconds: what no clock shows is no moment.
fn micros(seconds: f64) -> Option<u64> {
    let is_moment = (0.0..=(MOMENT_MAX.0 / 1_000_000) as f64).contains(&seconds);
    is_moment.then_some((seconds * 1e6) as u64)
}
