//! What a user may give for another answer than a refusal.

/// What there is to give, where a request was refused that showed a token, or did not. What is outside of
/// the scope of a token is not there for it, also where every node has it.
pub(super) fn advice(status: u16, target: &str, shows_token: bool) -> Option<&'static str> {
    let below = |path: &str| {
        target
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    };
    match (status, shows_token) {
        (401, false) => Some("give --token-file FILE or CHANGEAGENT_TOKEN"),
        (404, true) if below("/changes") => {
            Some("a token of a tenant needs --tenant T, one of a collection --collection C")
        }
        (404, true) if target == "/cluster" || below("/backup") => {
            Some("a token of a tenant or a collection is not good for what concerns the whole node")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_not_good_for_everything_hears_what_to_give() {
        for target in ["/changes?since=now&limit=1", "/changes"] {
            assert!(advice(404, target, true).unwrap().contains("needs --tenant T"), "{target}");
        }
        assert!(advice(404, "/cluster", true).unwrap().contains("whole node"));
        assert!(advice(401, "/changes", false).unwrap().contains("--token-file"));
        for (status, target, shows) in [
            (404, "/changes", false),
            (404, "/changeset", true),
            (404, "/tenants/t/changes", true),
            (401, "/changes", true),
        ] {
            assert_eq!(advice(status, target, shows), None, "{status} {target}");
        }
    }
}
