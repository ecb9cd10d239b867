//! `/docs`: a page that shows the API document, made in the browser from
//! `/openapi.json`. It loads nothing else, and looks as the live page does.

use crate::{api::reply::Reply, http::Response};

macro_rules! shared_style {
    () => {
        include_str!("page/page.css")
    };
}

macro_rules! style {
    () => {
        include_str!("docs/docs.css")
    };
}

macro_rules! script {
    () => {
        include_str!("docs/docs.js")
    };
}

const PAGE: &str = concat!(
    include_str!("docs/head.html"),
    "<style>",
    shared_style!(),
    "</style>\n<style>",
    style!(),
    "</style>\n",
    include_str!("docs/index.html"),
    "<script>",
    script!(),
    "</script>\n",
);

/// As that of the live page: its own styles and script run, and nothing else.
const POLICY: &str = concat!(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; ",
    "connect-src 'self'; img-src data:; require-trusted-types-for 'script'; ",
    "style-src 'sha256-2CbqKeyoH2Sywc8EMWiiP5p35zw2+39rwde9Bzej9Pc=' ",
    "'sha256-JxR3sB/i0Ei+Kp4fc/ve5gsJHqcuIGkDL2lJiwxIrmE='; ",
    "script-src 'sha256-70XqTLRhFkjoi7uB+b+e8bGRGQPgEI+FD1GTzIAo4FA='",
);

/// `GET /docs`
pub(in crate::api) fn get() -> Reply {
    let response = Response::new(200)
        .with_body("text/html; charset=utf-8", PAGE)
        .with_header("Content-Security-Policy", POLICY)
        .with_header("Cache-Control", "no-cache")
        .with_header("Referrer-Policy", "no-referrer");
    Reply::Now(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};

    #[test]
    fn the_policy_names_the_hashes_of_styles_and_script() {
        let source = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        let sources = [shared_style!(), style!(), script!()].map(source);
        let policy = format!("style-src {} {}; script-src {}", sources[0], sources[1], sources[2]);
        assert!(POLICY.ends_with(&policy), "the policy must end with {policy}");
    }

    #[test]
    fn styles_and_script_do_not_end_before_their_tags_do() {
        for text in [shared_style!(), style!(), script!()] {
            assert!(!text.to_lowercase().contains("</s"));
            assert!(!text.contains("<!--"));
            assert!(!text.contains('\r'), "a browser reads other bytes than were hashed");
        }
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_text() {
        let without_names = PAGE.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_names.contains("://"));
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!PAGE.contains(markup), "{markup}");
        }
    }
}
