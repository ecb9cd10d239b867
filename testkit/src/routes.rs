//! Every route of the API, on a node that has something at each.

use super::{node::Node, resources::Bar};

/// A route: a path that is there, and its methods besides OPTIONS.
pub struct Route {
    pub path: String,
    pub methods: &'static [&'static str],
}

impl Route {
    fn new(path: impl Into<String>, methods: &'static [&'static str]) -> Self {
        Self { path: path.into(), methods }
    }

    pub fn has(&self, method: &str) -> bool {
        self.methods.contains(&method)
    }

    /// A body that a write to this route would take.
    pub fn body(&self, method: &str) -> &'static str {
        match method {
            "POST" if self.path.ends_with("/changes") => r#"{"data":1}"#,
            "POST" if self.path.ends_with("/keys") => r#"{"key":"l","data":1}"#,
            "POST" => r#"{"name":"made"}"#,
            "PUT" => r#"{"data":1}"#,
            _ => "",
        }
    }
}

/// A node with change 1, which is that of key `k` of collection `bar` of tenant
/// `foo`, and all its routes.
pub fn routes() -> (Bar, Vec<Route>) {
    let mut bar = Bar::on(Node::start());
    assert_eq!(bar.put("k", 1), 1);
    let read = &["GET", "HEAD"][..];
    let list = &["GET", "HEAD", "POST"][..];
    let item = &["GET", "HEAD", "DELETE"][..];
    let key = &["GET", "HEAD", "PUT", "DELETE"][..];
    let mut routes: Vec<_> = [
        "/",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/cluster",
        "/cluster/log",
        "/cluster/members",
        "/changes/1",
    ]
    .into_iter()
    .map(|path| Route::new(path, read))
    .collect();
    routes.push(Route::new("/changes", list));
    for start in ["/tenants", "/tenant"] {
        routes.push(Route::new(start, list));
        routes.push(Route::new(format!("{start}/foo"), item));
        routes.push(Route::new(format!("{start}/foo/changes"), list));
        routes.push(Route::new(format!("{start}/foo/collections"), list));
    }
    let collections = [
        format!("/collections/{}", bar.collection),
        "/tenants/foo/collections/bar".into(),
        format!("/tenant/{}/collections/{}", bar.tenant, bar.collection.to_uppercase()),
    ];
    for start in collections {
        routes.push(Route::new(start.clone(), item));
        routes.push(Route::new(format!("{start}/changes"), read));
        routes.push(Route::new(format!("{start}/keys"), list));
        routes.push(Route::new(format!("{start}/keys/k"), key));
    }
    (bar, routes)
}
