//! Random writes over several tenants, collections, keys and tags: every list
//! is the filter of the global one, and every key its newest change there.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use testkit::{Client, Node, ids, percent, strings};

const TAGS: [&str; 4] = ["red", "green", "blue", "é/&"];

/// A collection and the tenant that it is of, by UUID.
struct Collection {
    uuid: String,
    tenant: String,
}

struct World {
    client: Client,
    rng: StdRng,
    tenants: Vec<String>,
    collections: Vec<Collection>,
}

impl World {
    fn new(mut client: Client, seed: u64) -> Self {
        let tenants: Vec<_> = (0..3).map(|n| client.tenant(&format!("t{n}"))).collect();
        let collections = (0..5)
            .map(|n| {
                let tenant = tenants[n % 3].clone();
                let uuid = client.collection(&tenant, &format!("c{n}"));
                Collection { uuid, tenant }
            })
            .collect();
        Self { client, rng: StdRng::seed_from_u64(seed), tenants, collections }
    }

    fn tags(&mut self) -> Vec<&'static str> {
        TAGS.into_iter().filter(|_| self.rng.random_bool(0.2)).collect()
    }

    /// The body of a random change: of nobody, of a tenant, of a collection or
    /// of a key.
    fn change(&mut self) -> String {
        let mut body = json!({"data": self.rng.random_range(0..1000)});
        let tags = self.tags();
        if !tags.is_empty() {
            body["tags"] = json!(tags);
        }
        let kind = self.rng.random_range(0..10);
        if (2..5).contains(&kind) {
            let n = self.rng.random_range(0..3);
            body["tenant"] =
                if kind == 2 { json!(format!("t{n}")) } else { json!(self.tenants[n]) };
        } else if kind >= 5 {
            let n = self.rng.random_range(0..self.collections.len());
            body["collection"] = json!(self.collections[n].uuid);
            if kind >= 7 {
                body["key"] = json!(self.key());
            }
        }
        body.to_string()
    }

    fn key(&mut self) -> String {
        ["k/", "k", "é", "\u{10ffff}", "a b"][self.rng.random_range(0..5)].repeat(2)
            + &self.rng.random_range(0..3).to_string()
    }

    /// One write of any kind.
    fn write(&mut self) {
        match self.rng.random_range(0..10) {
            0..5 => {
                let body = self.change();
                self.client.append(body);
            }
            5 | 6 => {
                let count = self.rng.random_range(1..20);
                let lines: Vec<_> = (0..count).map(|_| self.change()).collect();
                let answer = self.client.post_lines("/changes", &lines.join("\n"));
                assert_eq!(answer.status, 201, "{answer:?}");
            }
            n => {
                let collection = self.rng.random_range(0..self.collections.len());
                let uuid = &self.collections[collection].uuid;
                let start = format!("/collections/{uuid}/keys/");
                let target = start + &percent(&self.key());
                let answer = if n == 7 {
                    self.client.delete(&target)
                } else {
                    let tags = json!(self.tags());
                    self.client.put(&target, json!({"data": n, "tags": tags}).to_string())
                };
                assert!(matches!(answer.status, 200 | 201 | 404), "{answer:?}");
            }
        }
    }

    /// Reads random pages of a random list, which must be what `all` holds of
    /// it.
    fn check_pages(&mut self, all: &[Value]) {
        let newest = all.len() as u64;
        let (list, member, value) = match self.rng.random_range(0..3) {
            0 => ("/changes".to_owned(), "", String::new()),
            1 => {
                let n = self.rng.random_range(0..self.tenants.len());
                let uuid = self.tenants[n].clone();
                (format!("/tenants/{uuid}/changes"), "tenant", uuid)
            }
            _ => {
                let n = self.rng.random_range(0..self.collections.len());
                let uuid = self.collections[n].uuid.clone();
                (format!("/collections/{uuid}/changes"), "collection", uuid)
            }
        };
        let tags = self.tags();
        let mut since = self.rng.random_range(0..newest + 3);
        let limit = self.rng.random_range(1..40);
        let of_list = |change: &&Value| member.is_empty() || change[member] == value;
        let first = all.iter().find(of_list).map_or(u64::MAX, id_of);
        let wanted: Vec<&Value> = all
            .iter()
            .filter(of_list)
            .filter(|change| id_of(change) > since && bears(change, &tags))
            .collect();
        let filter: String = tags.iter().map(|tag| format!("&tag={}", percent(tag))).collect();
        let mut wanted = wanted.as_slice();
        loop {
            let query = format!("{list}?since={since}&limit={limit}{filter}");
            let page = self.client.page(&query);
            let (now, later) = wanted.split_at(limit.min(wanted.len()));
            assert!(page["changes"].as_array().unwrap().iter().eq(now.iter().copied()), "{query}");
            if tags.is_empty() {
                assert_eq!(page["atStart"], first > since, "{query}");
            }
            if page["atEnd"] == true {
                assert!(later.is_empty(), "{query}");
                assert_eq!(page["last"], since.max(newest), "{query}");
                return;
            }
            assert!(!later.is_empty(), "{query}: nothing follows, and it does not say so");
            assert_eq!(now.len(), limit, "{query}: only the last page is short");
            since = page["last"].as_u64().unwrap();
            assert_eq!(Some(&since), ids(&page).last(), "{query}");
            wanted = later;
        }
    }

    /// Reads a random page of several lists at once, forwards or backwards.
    fn check_several(&mut self, all: &[Value]) {
        let tenants: Vec<String> =
            self.tenants.iter().filter(|_| self.rng.random_bool(0.4)).cloned().collect();
        let collections: Vec<String> = self
            .collections
            .iter()
            .filter(|_| self.rng.random_bool(0.4))
            .map(|collection| collection.uuid.clone())
            .collect();
        let tags = self.tags();
        let names = |name: &str, values: &[String]| -> String {
            values.iter().map(|value| format!("&{name}={value}")).collect()
        };
        let filter: String = tags.iter().map(|tag| format!("&tag={}", percent(tag))).collect();
        let lists = names("tenant", &tenants) + &names("collection", &collections);
        let is_any = |values: &[String], value: &Value| values.iter().any(|one| value == one);
        let wanted: Vec<u64> = all
            .iter()
            .filter(|change| {
                lists.is_empty()
                    || is_any(&tenants, &change["tenant"])
                    || is_any(&collections, &change["collection"])
            })
            .filter(|change| bears(change, &tags))
            .map(id_of)
            .collect();
        let at = self.rng.random_range(0..all.len() as u64 + 3);
        let limit = self.rng.random_range(1..60);
        let page = self.client.list(&format!("?since={at}&limit={limit}{lists}{filter}"));
        let newer = wanted.iter().copied().filter(|id| *id > at);
        assert_eq!(ids(&page), newer.clone().take(limit).collect::<Vec<_>>(), "{lists}{filter}");
        assert_eq!(page["atEnd"], newer.count() <= limit);

        let page = self.client.list(&format!("?before={at}&limit={limit}{lists}{filter}"));
        let older: Vec<u64> = wanted.iter().copied().filter(|id| *id < at).collect();
        let start = older.len().saturating_sub(limit);
        assert_eq!(ids(&page), older[start..], "before={at}{lists}{filter}");
        assert_eq!(page["atStart"], start == 0);
        assert_eq!(page["atEnd"], older.len() == wanted.len());
    }

    /// Checks that the keys of every collection are their newest changes, alone
    /// and listed.
    fn check_keys(&mut self, all: &[Value]) {
        for collection in &self.collections {
            let mut live: BTreeMap<&str, &Value> = BTreeMap::new();
            let mut deleted = Vec::new();
            for change in all.iter().filter(|change| change["collection"] == collection.uuid) {
                assert_eq!(change["tenant"], collection.tenant);
                let Some(key) = change["key"].as_str() else { continue };
                let replaced = live.get(key).map(|before| before["_id"].clone());
                assert_eq!(change["prev"], replaced.unwrap_or_default(), "{change}");
                if change.get("deleted").is_some() {
                    live.remove(key).expect("only a live key is deleted");
                    deleted.push(key);
                } else {
                    live.insert(key, change);
                }
            }
            let start = format!("/collections/{}/keys", collection.uuid);
            let page = self.client.page(&start);
            assert_eq!(strings(&page["keys"], "key"), live.keys().copied().collect::<Vec<_>>());
            assert!(page["keys"].as_array().unwrap().iter().eq(live.values().copied()));
            for (key, change) in &live {
                let answer = self.client.get(&format!("{start}/{}", percent(key)));
                assert_eq!(answer.json(), **change);
                assert_eq!(answer.header("etag"), Some(format!("\"{}\"", id_of(change)).as_str()));
            }
            for key in deleted.into_iter().filter(|key| !live.contains_key(key)) {
                let target = format!("{start}/{}", percent(key));
                self.client.get(&target).problem(404, "not-found");
            }
        }
    }
}

fn id_of(change: &Value) -> u64 {
    change["_id"].as_u64().expect("an id")
}

fn bears(change: &Value, tags: &[&str]) -> bool {
    let of_change = change["tags"].as_array().map_or(&[][..], Vec::as_slice);
    tags.is_empty() || of_change.iter().any(|tag| tags.iter().any(|wanted| tag == wanted))
}

#[test]
fn every_list_is_the_filter_of_the_global_one() {
    for seed in [1, 20, 300] {
        let node = Node::with(&["--cores", "2"]);
        let mut world = World::new(node.client(), seed);
        for _ in 0..3 {
            for _ in 0..120 {
                world.write();
            }
            let page = world.client.list("?limit=10000");
            assert_eq!(page["atEnd"], true);
            let all = page["changes"].as_array().unwrap().clone();
            assert!((1..).zip(&all).all(|(id, change)| id_of(change) == id), "ids are dense");
            for _ in 0..60 {
                world.check_pages(&all);
                world.check_several(&all);
            }
            world.check_keys(&all);
        }
    }
}
