//! `/openapi.json`: the published form of the API. The document is written by
//! hand; the tests hold it against the tables that the program answers from.

use crate::{api::reply::Reply, http::Response};

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(in crate::api) fn get() -> Reply {
    Reply::Now(Response::json(200, DOCUMENT))
}

#[cfg(test)]
pub(in crate::api) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::api::error::Code;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Every path of the document with its methods, in capitals.
    pub(crate) fn paths() -> BTreeMap<String, BTreeSet<String>> {
        const METHODS: [&str; 8] =
            ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let methods = |item: &Value| {
            let names = item.as_object().unwrap().keys();
            names
                .filter(|name| METHODS.contains(&name.as_str()))
                .map(|name| name.to_uppercase())
                .collect()
        };
        paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
    }

    /// Every value of a member of that name, at any depth.
    fn members<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
        match value {
            Value::Object(object) => {
                for (member, value) in object {
                    if member == name {
                        found.push(value);
                    }
                    members(value, name, found);
                }
            }
            Value::Array(elements) => {
                elements.iter().for_each(|element| members(element, name, found));
            }
            _ => {}
        }
    }

    #[test]
    fn it_is_the_document_of_this_version() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_reference_resolves() {
        let document = document();
        let mut references = Vec::new();
        members(&document, "$ref", &mut references);
        assert!(references.len() > 100);
        for reference in references {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_link_names_an_operation() {
        let document = document();
        let (mut operations, mut links) = (Vec::new(), Vec::new());
        members(&document["paths"], "operationId", &mut operations);
        members(&document["components"]["links"], "operationId", &mut links);
        let named: BTreeSet<_> = operations.iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(named.len(), operations.len(), "an operationId stands twice");
        assert!(!links.is_empty());
        for link in links {
            assert!(named.contains(link.as_str().unwrap()), "{link}");
        }
    }

    #[test]
    fn the_codes_are_those_of_the_table() {
        let document = document();
        let listed = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
        let listed: Vec<_> = listed.iter().map(|code| code.as_str().unwrap()).collect();
        let mut known = Code::ALL.map(Code::as_str).to_vec();
        known.sort_unstable();
        let mut sorted = listed.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, known);

        let statuses = document["components"]["schemas"]["Problem"]["properties"]["status"]["enum"]
            .as_array()
            .unwrap();
        let statuses: BTreeSet<_> = statuses.iter().filter_map(Value::as_u64).collect();
        let known = Code::ALL.iter().map(|code| u64::from(code.status())).collect();
        assert_eq!(statuses, known);
    }

    #[test]
    fn every_code_has_its_example_and_no_other_is_there() {
        let document = document();
        let examples = document["components"]["examples"].as_object().unwrap();
        assert_eq!(examples.len(), Code::ALL.len());
        for code in Code::ALL {
            let problem = &examples[code.as_str()]["value"];
            assert_eq!(problem["code"], code.as_str());
            assert_eq!(problem["status"], code.status(), "{code}");
            assert_eq!(problem["title"], code.title(), "{code}");
            assert_eq!(problem["type"], format!("/errors/{code}"));
            assert!(problem["detail"].is_string(), "{code}");
        }
    }

    /// An error answer of an operation names codes of its own status only.
    #[test]
    fn every_error_answer_names_codes_of_its_status() {
        let document = document();
        let responses = document["components"]["responses"].as_object().unwrap();
        let mut named = BTreeSet::new();
        for (name, response) in responses {
            let media = &response["content"]["application/problem+json"];
            let Some(examples) = media["examples"].as_object() else { continue };
            let narrowed = &media["schema"]["allOf"][1]["properties"];
            for code in examples.keys() {
                let known = Code::ALL.into_iter().find(|known| known.as_str() == code).unwrap();
                assert_eq!(narrowed["status"]["const"], known.status(), "{name}");
                let (one, many) = (&narrowed["code"]["const"], &narrowed["code"]["enum"]);
                let spelled = many.as_array().map_or(*one == **code, |many| {
                    many.len() == examples.len() && many.iter().any(|other| other == code)
                });
                assert!(spelled, "{name}: {code}");
                named.insert(known.as_str());
            }
        }
        let unused: Vec<_> = Code::ALL
            .iter()
            .map(|code| code.as_str())
            .filter(|code| !named.contains(code))
            .collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    /// What generators of clients make of the document: numbers of 64 bits, and
    /// an alternative that has no members of its own, which costs all others.
    #[test]
    fn generated_clients_have_room_for_numbers_and_keep_the_members() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        for pointer in [
            "/ChangeId",
            "/Position",
            "/NodeId",
            "/Change/properties/_ts",
            "/Member/properties/matched",
            "/Cluster/properties/committed",
        ] {
            let schema = schemas.pointer(pointer).unwrap();
            assert_eq!(schema["format"], "int64", "{pointer}");
            let largest = schema["maximum"].as_u64().unwrap_or(0);
            assert!(i64::try_from(largest).is_ok(), "{pointer}");
        }
        for word in ["oneOf", "anyOf", "allOf"] {
            let mut found = Vec::new();
            members(schemas, word, &mut found);
            for alternative in found.iter().filter_map(|list| list.as_array()).flatten() {
                let names_only = alternative.as_object().unwrap().keys().eq(["required"]);
                assert!(!names_only, "{word}: {alternative}");
            }
        }
    }

    #[test]
    fn paths_and_methods_can_be_listed() {
        let paths = paths();
        assert!(paths["/changes"].iter().eq(["GET", "POST"]));
        assert!(paths["/collections/{collection}/keys/{key}"].iter().eq(["DELETE", "GET", "PUT"]));
    }
}
