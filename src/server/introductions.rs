//! What nodes that do not belong to one cluster yet ask each other, over HTTP as
//! any client: who they are, and to be taken in.
//!
//! Anybody may name an address to be asked here. So nothing is followed from
//! there, little is read, and whoever named it hears the same whatever the other
//! end is: what went wrong stands in the log alone.

use std::{io::ErrorKind, time::Duration};

use ureq::tls::TlsConfig;

use super::https::Https;
use crate::{api::introduction::Question, base::secret::Secret, io::cores};

/// The longest answer that is read: a cluster of many hundred members.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// The longest text that is repeated of an answer.
const TEXT_CHARACTERS_MAX: usize = 300;
/// What is to be given instead of an address where no ChangeAgent answers.
const WHERE: &str =
    "give the address where clients reach a node, that of its --listen or --advertise";
/// How a port begins that is for TLS, and was asked without it.
const SPEAKS_TLS: &str = "this port speaks TLS";

/// What this node is to others as their client.
#[derive(Clone)]
pub(super) struct AsClient {
    /// What is shown to the other node: it is good for such questions alone.
    pub(super) token: Option<Secret>,
    /// Other nodes speak TLS to their clients, if this one does.
    pub(super) tls: Option<Https>,
}

/// Asks on a thread of its own each time.
pub(super) async fn ask(question: Question, own: AsClient) -> Result<String, String> {
    let send = move || send(&question, own);
    let asked = cores::on_own_thread("introduction", send).await;
    asked.map_err(|error| error.to_string()).and_then(|outcome| outcome)
}

fn agent(limit: Duration, tls: TlsConfig) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // Nodes are reached directly, whatever the environment says of proxies.
        .proxy(None);
    config.build().into()
}

fn send(question: &Question, AsClient { token, tls }: AsClient) -> Result<String, String> {
    let Question { address, path, body, limit } = question;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}{path}");
    // The files may be others by now than at the start.
    let tls = tls.as_ref().map(Https::config).transpose().map_err(|error| error.to_string())?;
    let agent = agent(*limit, tls.unwrap_or_default());
    let shown = token.map(|token| ("Authorization", token.authorization()));
    let answer = match body {
        None => shown
            .into_iter()
            .fold(agent.get(url), |it, (name, value)| it.header(name, value))
            .call(),
        Some(body) => {
            let post = agent.post(url).header("Content-Type", "application/json");
            shown.into_iter().fold(post, |it, (name, value)| it.header(name, value)).send(body)
        }
    };
    let mut answer = answer.map_err(|error| who_answers(&error))?;
    match answer.status().is_success() {
        true => text_of(&mut answer),
        false => Err(refusal(&mut answer)?),
    }
}

/// What there is instead of an answer.
fn who_answers(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if is_hung_up(error.kind()) => {
            format!("it closes the connection without an answer, as a cluster port does: {WHERE}")
        }
        ureq::Error::Protocol(error) => {
            format!("what answers there does not speak HTTP ({error}): {WHERE}")
        }
        error => error.to_string(),
    }
}

fn is_hung_up(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Why a request was refused, as far as the answer says.
fn refusal(answer: &mut ureq::http::Response<ureq::Body>) -> Result<String, String> {
    let status = answer.status().as_u16();
    let problem: Option<serde_json::Value> = serde_json::from_str(&text_of(answer)?).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    Ok(match detail {
        Some(detail) if status == 400 && detail.starts_with(SPEAKS_TLS) => format!(
            "{SPEAKS_TLS}: start this node with --tls-cert and --tls-key, then it asks by https"
        ),
        Some(detail) => detail.chars().take(TEXT_CHARACTERS_MAX).collect(),
        None => {
            let name = answer.headers().get("server").and_then(|name| name.to_str().ok());
            let name = name.unwrap_or("unnamed").chars().take(TEXT_CHARACTERS_MAX);
            let name: String = name.collect();
            format!(
                "an HTTP server ({name}) that is no ChangeAgent answers {status} there: {WHERE}"
            )
        }
    })
}

fn text_of(answer: &mut ureq::http::Response<ureq::Body>) -> Result<String, String> {
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    body.read_to_string().map_err(|error| error.to_string())
}
