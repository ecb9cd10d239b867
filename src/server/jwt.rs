//! The keys of JWTs as they are set, and their file, looked at again for as long as the node runs.

use std::{
    fs::File,
    io::Read as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::flags::Flags;
use crate::api::access::{JWKS_BYTES_MAX, JwtKeys};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The longest name of an audience, in bytes.
const AUDIENCE_BYTES_MAX: usize = 255;

/// What is set of JWTs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// A JWKS: the keys that they must be signed with.
    pub keys: PathBuf,
    /// For whom they must be.
    pub audience: String,
}

impl JwtSettings {
    /// What the flags say, or else the file.
    ///
    /// # Errors
    /// Where one is given without another that it needs.
    pub(super) fn merge(flags: &Flags, file: &Flags) -> Result<Option<Self>, String> {
        let keys = flags.jwt_keys.clone().or_else(|| file.jwt_keys.clone());
        let audience = flags.jwt_audience.clone().or_else(|| file.jwt_audience.clone());
        let has_root = flags.root_token_file.is_some() || file.root_token_file.is_some();
        match (keys, audience) {
            (Some(_), Some(audience)) if !(1..=AUDIENCE_BYTES_MAX).contains(&audience.len()) => {
                Err("jwt-audience has 1 to 255 bytes".into())
            }
            (Some(_), Some(_)) if !has_root => Err("jwt-keys needs root-token-file".into()),
            (Some(keys), Some(audience)) => Ok(Some(Self { keys, audience })),
            (None, None) => Ok(None),
            _ => Err("jwt-keys and jwt-audience need each other".into()),
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        // One byte more tells that it is too large.
        let read = File::open(&self.keys)
            .and_then(|file| file.take(JWKS_BYTES_MAX as u64 + 1).read_to_end(&mut text));
        read.map(|_| text).map_err(|error| error.to_string())
    }
}

/// Looks at the file again and again, on a thread that may wait for the disk.
pub(super) struct JwtWatch {
    settings: JwtSettings,
    keys: Arc<JwtKeys>,
    /// The file as it was when its keys were taken up.
    text: Vec<u8>,
    /// Why the file as it was last cannot be used.
    failed: Option<String>,
    next: Instant,
}

impl JwtWatch {
    /// Has read the file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(settings: JwtSettings) -> Result<Self, String> {
        let open = || {
            let text = settings.read()?;
            let keys =
                JwtKeys::new(&text, &settings.audience).map_err(|error| error.to_string())?;
            Ok((text, Arc::new(keys)))
        };
        let (text, keys) = open().map_err(|error: String| told(&settings, &error))?;
        match keys.counts() {
            (0, _) => warn_of_none(),
            (keys, left_out) => tracing::info!(keys, left_out, "keys of JWTs are read"),
        }
        Ok(Self { settings, keys, text, failed: None, next: Instant::now() + LOOK })
    }

    /// The keys, which change when the file does.
    pub(super) fn keys(&self) -> Arc<JwtKeys> {
        Arc::clone(&self.keys)
    }

    /// To be called at least a few times a second.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + LOOK;
        match self.taken_up() {
            Ok(None) => self.failed = None,
            Ok(Some(counts)) => {
                self.failed = None;
                match counts {
                    (0, _) => warn_of_none(),
                    (keys, left_out) => {
                        tracing::info!(keys, left_out, "keys of JWTs are taken up anew");
                    }
                }
            }
            Err(error) => {
                let error = told(&self.settings, &error);
                if self.failed.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "the new keys of JWTs cannot be used: those before stay in use"
                    );
                    self.failed = Some(error);
                }
            }
        }
    }

    /// Takes the keys up if the file has changed.
    fn taken_up(&mut self) -> Result<Option<(usize, usize)>, String> {
        let text = self.settings.read()?;
        if text == self.text {
            return Ok(None);
        }
        let counts = self.keys.replace(&text).map_err(|error| error.to_string())?;
        self.text = text;
        Ok(Some(counts))
    }
}

fn warn_of_none() {
    tracing::warn!("there are no keys of JWTs in the file of jwt-keys: no JWT is good");
}

fn told(settings: &JwtSettings, error: &str) -> String {
    format!("jwt-keys {} cannot be used: {error}", settings.keys.display())
}
