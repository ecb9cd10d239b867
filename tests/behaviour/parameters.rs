//! Query parameters: which each route has, with which values, and that those of
//! other routes are refused before anything is done.

use serde_json::Value;

use testkit::{Bar, Route, routes};

/// The parameters of a route's GET, each with a value that it takes.
fn parameters(route: &Route) -> &'static [&'static str] {
    const CHANGES: &[&str] =
        &["since=0", "limit=5", "block=0", "min_id=1", "consistency=strong", "tag=a"];
    const NAMES: &[&str] = &["after=a", "limit=5", "min_id=1", "consistency=strong"];
    const KEYS: &[&str] = &["after=a", "limit=5", "prefix=k", "min_id=1", "consistency=strong"];
    const KEY: &[&str] = &["since=0", "block=0", "min_id=1", "consistency=strong"];
    const ONE: &[&str] = &["min_id=1", "consistency=strong"];
    const LOG: &[&str] = &["from=1", "to=9", "block=0", "consistency=strong"];
    let path = route.path.as_str();
    if path.ends_with("/changes") {
        CHANGES
    } else if path.ends_with("/keys") {
        KEYS
    } else if path.ends_with("/keys/k") {
        KEY
    } else if path.ends_with("/collections") || path == "/tenants" || path == "/tenant" {
        NAMES
    } else if path == "/cluster/log" {
        LOG
    } else if ["/changes/", "/tenant", "/collections/"].iter().any(|start| path.starts_with(start))
    {
        ONE
    } else {
        &[]
    }
}

/// Checks that a request is refused for its parameter.
fn refuses(bar: &mut Bar, method: &str, target: &str, body: &str, parameter: &str) {
    let answer = bar.client.json(method, target, body);
    let problem = answer.problem(400, "invalid-parameter");
    assert_eq!(problem["parameter"], parameter, "{method} {target}: {problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(parameter), "{method} {target}: {detail}");
}

/// Everything that a write could have changed.
fn everything(bar: &mut Bar) -> Vec<Value> {
    let lists = ["/changes", "/tenants", "/tenants/foo/collections"];
    lists.map(|list| bar.client.page(list)).into()
}

#[test]
fn every_route_reads_its_parameters() {
    let (mut bar, routes) = routes();
    // The log is no page; `log_copies` asks for it.
    let pages = routes.iter().filter(|route| route.has("GET") && route.path != "/cluster/log");
    for route in pages {
        let parameters = parameters(route);
        for parameter in parameters {
            bar.client.page(&format!("{}?{parameter}", route.path));
        }
        if parameters.contains(&"tag=a") {
            bar.client.page(&format!("{}?tag=a&tag=b&tag=a", route.path));
        }
        if !parameters.is_empty() {
            let all = parameters.join("&");
            bar.client.page(&format!("{}?{all}", route.path));
            bar.client.page(&format!("{}?&{all}&", route.path));
            bar.client.page(&format!("{}?", route.path));
        }
    }
}

#[test]
fn a_parameter_of_reading_is_refused_on_writing() {
    let (mut bar, routes) = routes();
    let before = everything(&mut bar);
    for route in &routes {
        for method in ["POST", "PUT", "DELETE"].into_iter().filter(|method| route.has(method)) {
            for parameter in ["limit=5", "since=0", "tag=a", "consistency=strong"] {
                let name = parameter.split('=').next().unwrap();
                let target = format!("{}?{parameter}", route.path);
                refuses(&mut bar, method, &target, route.body(method), name);
            }
        }
    }
    assert_eq!(everything(&mut bar), before);
}

#[test]
fn a_parameter_of_one_list_is_unknown_to_the_others() {
    let (mut bar, routes) = routes();
    let known = [
        "since=0",
        "limit=5",
        "block=0",
        "min_id=0",
        "consistency=local",
        "tag=a",
        "after=a",
        "prefix=k",
        "last=a",
    ];
    for route in routes.iter().filter(|route| route.has("GET")) {
        let of_route = parameters(route);
        for parameter in known {
            let name = parameter.split('=').next().unwrap();
            let has = of_route.iter().any(|one| one.split('=').next() == Some(name));
            // `last` is read as `after`, at least by the list of keys.
            if has || name == "last" && of_route.contains(&"after=a") {
                continue;
            }
            // Another question than the list of keys, with tests of its own.
            if route.path.ends_with("/keys") && ["since", "block"].contains(&name) {
                continue;
            }
            let target = format!("{}?{parameter}", route.path);
            refuses(&mut bar, "GET", &target, "", name);
        }
    }
}

#[test]
fn values_out_of_range_are_refused_on_every_route_that_has_the_parameter() {
    let (mut bar, routes) = routes();
    for route in routes.iter().filter(|route| route.has("GET")) {
        let of_route = parameters(route);
        for (name, values) in [
            ("limit", &["0", "-1", "1.5", "x", "", "000"][..]),
            ("since", &["-1", "x", "", "1.0", "9223372036854775808"]),
            ("block", &["-1", "x", "", "1e3", "."]),
            ("min_id", &["-1", "x", "", "now"]),
            ("consistency", &["x", "", "Strong"]),
        ] {
            if !of_route.iter().any(|one| one.split('=').next() == Some(name)) {
                continue;
            }
            for value in values {
                let target = format!("{}?{name}={value}", route.path);
                refuses(&mut bar, "GET", &target, "", name);
            }
        }
    }
}
