//! The tables of a local copy, the same in all client libraries. Format 1.
//!
//! `changeagent_mirrors` has a row for each copy: how far it has come. `loading` is the
//! collection and key (`<collection>/<key>`) after which its state is still to be read,
//! and null once that is done.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    error::Error,
    mirror::Keep,
    model::{Change, Position},
};

const FORMAT: i64 = 1;
const MIRRORS: &str = "CREATE TABLE IF NOT EXISTS changeagent_mirrors (
  name TEXT PRIMARY KEY, format INTEGER NOT NULL, keep TEXT NOT NULL, list TEXT NOT NULL,
  cluster TEXT, since INTEGER NOT NULL, loading TEXT)";
const CHANGES: &str = "id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, tenant TEXT, collection TEXT,
  key TEXT, tags TEXT, data TEXT, deleted INTEGER NOT NULL)";
const KEYS: &str = "collection TEXT NOT NULL, key TEXT NOT NULL, id INTEGER NOT NULL,
  ts INTEGER NOT NULL, tenant TEXT, tags TEXT, data TEXT,
  PRIMARY KEY (collection, key)) WITHOUT ROWID";

/// How far a copy is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// None before its first page.
    pub(crate) position: Option<Position>,
    pub(crate) loading: Option<String>,
}

/// What one copy reads and writes, always within a transaction of its caller.
#[derive(Debug)]
pub(crate) struct Tables {
    name: String,
    keep: Keep,
    list: String,
}

/// SQLite has signed numbers only; no history is as long as they go.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Tables {
    pub(crate) fn new(name: String, keep: Keep, list: String) -> Result<Self, Error> {
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        let is_name = name.bytes().next().is_some_and(is_letter)
            && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit());
        if !is_name {
            return Err(Error::Usage(format!("not the name of a table: {name:?}")));
        }
        Ok(Self { name, keep, list })
    }

    pub(crate) fn create(&self, db: &Connection) -> Result<(), Error> {
        db.execute_batch(MIRRORS)?;
        let columns = match self.keep {
            Keep::Changes => CHANGES,
            Keep::Keys => KEYS,
            Keep::Nothing => return Ok(()),
        };
        db.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {} ({columns}", self.name))?;
        Ok(())
    }

    pub(crate) fn read(&self, db: &Connection) -> Result<Place, Error> {
        let sql = "SELECT format, keep, list, cluster, since, loading
            FROM changeagent_mirrors WHERE name = ?";
        let row = db.prepare_cached(sql)?.query_row([&self.name], |row| {
            let kept: (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let since: i64 = row.get(4)?;
            let position = Position { cluster: row.get(3)?, id: since.unsigned_abs() };
            Ok((kept, Place { position: Some(position), loading: row.get(5)? }))
        });
        let Some(((format, keep, list), place)) = row.optional()? else {
            return Ok(Place::default());
        };
        if format != FORMAT {
            let name = &self.name;
            return Err(Error::Usage(format!(
                "the copy {name} has the format {format}, not {FORMAT}"
            )));
        }
        if keep != self.keep.name() || list != self.list {
            return Err(Error::Usage(format!("the copy {} keeps {keep} of {list}", self.name)));
        }
        Ok(place)
    }

    pub(crate) fn move_to(&self, db: &Connection, place: &Place) -> Result<(), Error> {
        let Some(position) = &place.position else { return Ok(()) };
        let sql = "INSERT OR REPLACE INTO changeagent_mirrors VALUES (?, ?, ?, ?, ?, ?, ?)";
        db.prepare_cached(sql)?.execute(params![
            self.name,
            FORMAT,
            self.keep.name(),
            self.list,
            position.cluster,
            signed(position.id),
            place.loading
        ])?;
        Ok(())
    }

    /// Back to before the first page.
    pub(crate) fn clear(&self, db: &Connection) -> Result<(), Error> {
        if self.keep != Keep::Nothing {
            db.execute_batch(&format!("DELETE FROM {}", self.name))?;
        }
        db.execute("DELETE FROM changeagent_mirrors WHERE name = ?", [&self.name])?;
        Ok(())
    }

    pub(crate) fn apply(&self, db: &Connection, change: &Change) -> Result<(), Error> {
        let Change { tenant, collection, key, tags, deleted, .. } = change;
        let (id, ts) = (signed(change.id), signed(change.ts));
        let tags = (!tags.is_empty()).then(|| serde_json::json!(tags).to_string());
        let data = change.data_json();
        match self.keep {
            Keep::Changes => {
                let sql = format!("INSERT INTO {} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self.name);
                let row = params![id, ts, tenant, collection, key, tags, data, deleted];
                db.prepare_cached(&sql)?.execute(row)?;
            }
            Keep::Keys if *deleted => self.delete(db, change)?,
            Keep::Keys if key.is_some() => {
                // While a state is caught up with, older versions come after newer ones.
                let sql = format!(
                    "INSERT INTO {} VALUES (?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (collection, key) DO UPDATE SET id = excluded.id,
                    ts = excluded.ts, tenant = excluded.tenant, tags = excluded.tags,
                    data = excluded.data WHERE excluded.id > id",
                    self.name
                );
                let row = params![collection, key, id, ts, tenant, tags, data];
                db.prepare_cached(&sql)?.execute(row)?;
            }
            Keep::Keys | Keep::Nothing => {}
        }
        Ok(())
    }

    /// What a deletion takes with it: a key, a collection or a tenant.
    fn delete(&self, db: &Connection, change: &Change) -> Result<(), Error> {
        let (from, id) = (format!("DELETE FROM {} WHERE", self.name), signed(change.id));
        match (&change.key, &change.collection, &change.tenant) {
            (Some(key), collection, _) => {
                let sql = format!("{from} collection = ? AND key = ? AND id < ?");
                db.prepare_cached(&sql)?.execute(params![collection, key, id])?;
            }
            (None, Some(collection), _) => {
                let sql = format!("{from} collection = ? AND id < ?");
                db.prepare_cached(&sql)?.execute(params![collection, id])?;
            }
            (None, None, Some(tenant)) => {
                let sql = format!("{from} tenant = ? AND id < ?");
                db.prepare_cached(&sql)?.execute(params![tenant, id])?;
            }
            (None, None, None) => {}
        }
        Ok(())
    }
}
