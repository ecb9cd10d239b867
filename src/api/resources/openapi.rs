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
            let mut statuses = BTreeSet::new();
            for code in examples.keys() {
                let known = Code::ALL.into_iter().find(|known| known.as_str() == code).unwrap();
                statuses.insert(known.status());
                named.insert(known.as_str());
            }
            assert_eq!(statuses.len(), 1, "{name}: {statuses:?}");
        }
        let unused: Vec<_> = Code::ALL
            .iter()
            .map(|code| code.as_str())
            .filter(|code| !named.contains(code))
            .collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    /// Every schema of the document, at any depth.
    fn schemas(document: &Value) -> Vec<&Value> {
        let mut found = Vec::new();
        members(document, "schema", &mut found);
        let named = document["components"]["schemas"].as_object().unwrap().values();
        let mut all = Vec::new();
        let mut left: Vec<&Value> = found.into_iter().chain(named).collect();
        while let Some(schema) = left.pop() {
            all.push(schema);
            left.extend(schema["properties"].as_object().into_iter().flat_map(|of| of.values()));
            left.extend(schema.get("items"));
            for word in ["oneOf", "anyOf", "allOf"] {
                left.extend(schema[word].as_array().into_iter().flatten());
            }
        }
        all
    }

    /// What is not said otherwise, a generated client has 32 bits for.
    #[test]
    fn generated_clients_have_room_for_every_number() {
        let document = document();
        let all = schemas(&document);
        let is_whole = |schema: &&&Value| schema["type"].to_string().contains("\"integer\"");
        let numbers: Vec<_> = all.iter().filter(is_whole).collect();
        assert!(numbers.len() > 50, "{}", numbers.len());
        for schema in numbers {
            let largest = schema["maximum"].as_u64().unwrap_or(0);
            assert!(i64::try_from(largest).is_ok(), "{schema}");
            let is_status = schema["enum"].as_array().is_some_and(|of| of.contains(&404.into()));
            assert_eq!(schema["format"], if is_status { "int32" } else { "int64" }, "{schema}");
        }
    }

    /// An alternative that has no members of its own costs a generated client all
    /// others, and one that is all of two forms becomes a class without a name.
    #[test]
    fn generated_clients_keep_the_members() {
        let document = document();
        for schema in schemas(&document) {
            for word in ["oneOf", "anyOf", "allOf"] {
                for one in schema[word].as_array().into_iter().flatten() {
                    let has = |word| one.get(word).is_some();
                    assert!(has("$ref") || has("type") || has("const"), "{word}: {schema}");
                }
                assert!(
                    word != "allOf" || schema[word].as_array().is_none_or(|all| all.len() == 1)
                );
            }
            let is_listed = schema.get("enum").is_some();
            assert!(!is_listed || schema.get("type").is_some(), "{schema}");
            // Python's client takes the first character away from what does not begin so.
            let pattern = schema["pattern"].as_str().unwrap_or("^$");
            assert!(pattern.starts_with('^'), "{schema}");
        }
    }

    #[test]
    fn every_problem_is_the_same_plain_one() {
        let document = document();
        let mut problems = Vec::new();
        members(&document, "application/problem+json", &mut problems);
        assert!(problems.len() > 20);
        for problem in problems {
            assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{problem}");
            assert!(problem["examples"].is_object(), "they say which codes it may have: {problem}");
        }
        let schema = &document["components"]["schemas"]["Problem"];
        assert!(["oneOf", "anyOf", "allOf", "if"].iter().all(|word| schema.get(*word).is_none()));
    }

    /// A client for Go makes `NewTenant` of a `Tenant`: a schema of that name would be it twice.
    #[test]
    fn no_schema_is_named_as_the_maker_of_another() {
        let document = document();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let taken =
            |name: &String| name.strip_prefix("New").is_some_and(|rest| schemas.contains_key(rest));
        assert!(!schemas.keys().any(taken), "{:?}", schemas.keys().find(|name| taken(name)));
    }

    #[test]
    fn paths_and_methods_can_be_listed() {
        let paths = paths();
        assert!(paths["/changes"].iter().eq(["GET", "POST"]));
        assert!(paths["/collections/{collection}/keys/{key}"].iter().eq(["DELETE", "GET", "PUT"]));
    }
}
