//! The live page that a browser gets at `/`: one answer with its style and its
//! script inside, which loads nothing else and talks to this node alone.

use crate::{api::reply::Reply, http::Response};

macro_rules! style {
    () => {
        include_str!("page/page.css")
    };
}

macro_rules! script {
    () => {
        include_str!("page/page.js")
    };
}

const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("page/index.html"),
    "<script>",
    script!(),
    "</script>\n",
);

/// Lets the page's own style and script run, and nothing else: whatever text
/// found its way into the page would stay text. The two hashes are of what
/// stands between the tags; a test computes them anew.
const POLICY: &str = concat!(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; ",
    "connect-src 'self'; img-src data:; require-trusted-types-for 'script'; ",
    "style-src 'sha256-2CbqKeyoH2Sywc8EMWiiP5p35zw2+39rwde9Bzej9Pc='; ",
    "script-src 'sha256-ur7J36v71+2gydy+Ka8VOu2keda0doZdPfBXZDNET4w='",
);

/// `GET /` for a browser.
pub(in crate::api) fn get() -> Reply {
    let response = Response::new(200)
        .with_body("text/html; charset=utf-8", PAGE)
        .with_header("Content-Security-Policy", POLICY)
        .with_header("Cache-Control", "no-cache")
        .with_header("Referrer-Policy", "no-referrer")
        .with_header("Vary", "Accept");
    Reply::Now(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};

    #[test]
    fn the_policy_names_the_hashes_of_style_and_script() {
        for (directive, text) in [("style-src", style!()), ("script-src", script!())] {
            let hash = STANDARD.encode(Sha256::digest(text));
            let source = format!("{directive} 'sha256-{hash}'");
            assert!(POLICY.contains(&source), "the policy must say {source}");
        }
    }

    #[test]
    fn style_and_script_do_not_end_before_their_tags_do() {
        for text in [style!(), script!()] {
            assert!(!text.to_lowercase().contains("</s"));
            assert!(!text.contains("<!--"));
            assert!(!text.contains('\r'), "a browser reads other bytes than were hashed");
        }
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let without_names = PAGE.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_names.contains("://"));
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!PAGE.contains(markup), "{markup}");
        }
    }
}
