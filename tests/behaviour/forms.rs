//! The forms that every route takes and gives, and the paths beside the routes.

use testkit::routes;

#[test]
fn every_route_that_reads_gives_json_to_everyone_and_refuses_what_it_has_not() {
    const OTHER_FORMS: [&str; 4] = ["/metrics", "/", "/docs", "/cluster/log"];
    let (mut bar, routes) = routes();
    for route in routes.iter().filter(|route| !OTHER_FORMS.contains(&&*route.path)) {
        let answer = bar.client.get(&route.path);
        assert_eq!(answer.status, 200, "{}", route.path);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{}", route.path);
        for accept in ["*/*", "application/*", "application/json;q=0.1", "text/html, */*;q=0.5"] {
            let again = bar.client.request("GET", &route.path, &[("Accept", accept)], b"");
            assert_eq!(again.status, 200, "{} {accept}", route.path);
            assert_eq!(again.header("content-type"), Some("application/json"));
        }
        // Health is told to everyone, whatever they ask for.
        if ["/health", "/ready"].contains(&&*route.path) {
            continue;
        }
        for accept in ["text/html", "image/png", "application/json;q=0", "*/*;q=0"] {
            let answer = bar.client.request("GET", &route.path, &[("Accept", accept)], b"");
            answer.problem(406, "not-acceptable");
        }
    }
}

#[test]
fn every_write_takes_json_as_curl_sends_it_and_no_other_type() {
    let (mut bar, routes) = routes();
    let mut last = 1;
    for route in &routes {
        for method in ["POST", "PUT"].into_iter().filter(|method| route.has(method)) {
            let (body, target) = (route.body(method).as_bytes(), &route.path);
            for refused in ["text/plain", "application/xml", "multipart/form-data; boundary=x"] {
                let headers = [("Content-Type", refused)];
                let problem = bar.client.request(method, target, &headers, body);
                let problem = problem.problem(415, "unsupported-media-type");
                let named = refused.split(';').next().unwrap();
                assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
            }
            let types = [
                None,
                Some("application/x-www-form-urlencoded"),
                Some("application/json; charset=utf-8"),
            ];
            for media_type in types {
                let headers: Vec<_> = media_type.iter().map(|it| ("Content-Type", *it)).collect();
                let answer = bar.client.request(method, target, &headers, body);
                // The second one who makes a name finds it taken.
                let taken = [200, 201, 409].contains(&answer.status);
                assert!(taken, "{method} {target} {media_type:?} {answer:?}");
                last += u64::from(answer.json().get("_id").is_some());
            }
        }
    }
    assert!(last > 20);
    bar.node.holds(last);
}

#[test]
fn paths_beside_the_routes_are_not_found_for_every_method() {
    let (mut bar, routes) = routes();
    let mut beside = vec![
        "/nothing".to_owned(),
        "/Tenants".into(),
        "/tenants//".into(),
        "/collections".into(),
        "/keys".into(),
        "/tenants/foo/keys".into(),
        "/tenants/foo/nothing".into(),
    ];
    let deepest = routes.iter().filter(|route| route.path.len() > 1);
    beside.extend(deepest.map(|route| format!("{}/x/y/z", route.path)));
    beside.push(format!("/collections/{}/tenants", bar.collection));
    beside.push(format!("/collections/{}/keys/k/x", bar.collection));
    for path in &beside {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            bar.client.json(method, path, r#"{"data":1}"#).problem(404, "not-found");
        }
    }
    bar.node.holds(1);
}
