//! Which tenants a copy is of: said when its directory is begun, and the same from then on.

use std::io;

use uuid::Uuid;

use super::{of::CopyOf, origins::Origins};
use crate::{
    base::{names::parse_uuid, tenants::Tenants},
    io::{Files, put_file},
};

/// Says of which tenants the log is: of each a line, what it was called when the copy was begun, a
/// space, and its UUID. A copy of a whole history has none.
const FILE: &str = "tenants";
const TEMPORARY: &str = "tenants.tmp";

/// Tenants as they were named, and what that stood for.
type Known = Vec<(String, Uuid)>;

/// The tenants that the log on `files` is of; nothing where it is of all.
///
/// # Errors
/// It is of others than `of` says.
pub(super) fn of_log(files: &impl Files, of: &CopyOf) -> io::Result<Option<Tenants>> {
    let refuse = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let elsewhere = "give another --data for another choice";
    let known = match (read(files)?, of.tenants.is_empty()) {
        (None, true) => return Ok(None),
        (None, false) => {
            return refuse(format!(
                "it is a cache of a whole history, without --tenant: {elsewhere}"
            ));
        }
        (Some(known), _) => known,
    };
    let names =
        |(name, id): &(String, Uuid), given: &str| name == given || parse_uuid(given) == Some(*id);
    let is_known = |given: &String| known.iter().any(|known| names(known, given));
    let is_given = |known: &(String, Uuid)| of.tenants.iter().any(|given| names(known, given));
    if !of.tenants.iter().all(is_known) || !known.iter().all(is_given) {
        let known: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let known = known.join(", ");
        return refuse(format!("it is a cache of other tenants, --tenant {known}: {elsewhere}"));
    }
    Ok(Some(Tenants::new(known.into_iter().map(|(_, id)| id).collect())))
}

/// Looks the tenants up that a copy is to be of, at the current origin, and notes them: durable on
/// return.
pub(super) async fn look_up(
    files: &impl Files,
    of: &CopyOf,
    origins: &Origins,
) -> Result<Option<Tenants>, String> {
    let failed = |error: io::Error| error.to_string();
    if of.tenants.is_empty() {
        return match files.remove(FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(None),
        };
    }
    let mut known = Known::new();
    for name in &of.tenants {
        known.push((name.clone(), origins.tenant(name).await?));
    }
    let lines: String = known.iter().map(|(name, id)| format!("{name} {id}\n")).collect();
    put_file(files, TEMPORARY, FILE, lines.as_bytes()).map_err(failed)?;
    Ok(Some(Tenants::new(known.into_iter().map(|(_, id)| id).collect())))
}

fn read(files: &impl Files) -> io::Result<Option<Known>> {
    let bytes = match files.read(FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let line = |line: &str| {
        let (name, id) = line.split_once(' ')?;
        Some((name.to_owned(), parse_uuid(id)?))
    };
    let text = String::from_utf8_lossy(&bytes);
    let known: Option<Known> = text.lines().map(line).collect();
    known.filter(|known| !known.is_empty()).map(Some).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("its file {FILE} cannot be read"))
    })
}
