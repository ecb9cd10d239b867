//! A node as its clients see it: HTTP requests, with the retries that each kind
//! of request allows.

use std::{
    cell::OnceCell,
    fmt, fs,
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

use clap::Args;
use ureq::{
    Agent, AsSendBody, Body, BodyReader,
    http::{HeaderValue, Method, Request, Response, Uri, request::Builder},
};

use super::{
    advice::advice,
    broken,
    failure::{Failure, Problem, WriteFailure},
    retry::Backoff,
    trust::TrustArguments,
};
use crate::{base::secret::Secret, server::TOKEN_VARIABLE};

/// The longest that a connection may stay silent: more than any long-poll waits.
const SILENCE_MAX: Duration = Duration::from_secs(90);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The shortest time that an answer is waited for.
const LEAST: Duration = Duration::from_millis(250);
/// A page is cut at 8 MiB, but holds one change at least; no node can be set to
/// take a body of more than 512 MiB.
pub(super) const ANSWER_BYTES_MAX: u64 = 528 << 20;

/// Media types.
pub(super) const JSON: &str = "application/json";
/// One JSON value a line.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Bytes.
pub(super) const OCTETS: &str = "application/octet-stream";

/// Which node.
#[derive(Clone, Debug, Args)]
pub(super) struct NodeArguments {
    /// The node
    #[arg(long, env = "CHANGEAGENT_URL", default_value = "http://127.0.0.1:9000")]
    pub(super) url: Url,
    /// A file with the token that the node asks for; without it, what is in CHANGEAGENT_TOKEN
    #[arg(long, env = "CHANGEAGENT_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

impl NodeArguments {
    /// The value of `Authorization`, if there is a token.
    fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let (text, place) = match (&self.token_file, std::env::var(TOKEN_VARIABLE)) {
            (Some(path), _) => {
                let text = fs::read_to_string(path).map_err(Failure::file(path))?;
                (text, path.display().to_string())
            }
            (None, Ok(text)) => (text, TOKEN_VARIABLE.to_owned()),
            (None, Err(_)) => return Ok(None),
        };
        let no_token = |error| Failure::Usage(format!("{place} holds no token: {error}"));
        let value = Secret::of_line(&text).map_err(no_token)?.authorization();
        let mut value =
            HeaderValue::try_from(value).map_err(|error| Failure::Other(error.to_string()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// How often a request is tried again.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RetryArguments {
    /// How often to try again what failed of the network or of a busy node
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) retries: u32,
}

/// `http://host:port` or `https://host:port`, perhaps with a path, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url(String);

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return Err("must be of the form http://HOST:PORT or https://HOST:PORT".into()),
        }
        if uri.query().is_some() {
            return Err("must not have a query".into());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Url {
    /// Whether what is sent there is encrypted.
    pub(super) fn is_secured(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A write, which bears the key that makes its repetition harmless.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: &'a str,
    /// `Idempotency-Key`.
    pub(super) key: &'a str,
    /// JSON; nothing for a deletion.
    pub(super) body: Option<&'a [u8]>,
}

/// A node, over one kept connection.
#[derive(Debug)]
pub(super) struct Node {
    agent: Agent,
    url: Url,
    retries: u32,
    /// When every answer must have come.
    deadline: Option<Instant>,
    /// What it is shown.
    authorization: Option<HeaderValue>,
    /// The history that the first answer was of. Invariant: so is every other,
    /// because ids of one history mean nothing in another.
    cluster: OnceCell<String>,
}

impl Node {
    /// The node that is named.
    ///
    /// # Errors
    /// The token for it, or the files of TLS, cannot be used.
    pub(super) fn new(node: &NodeArguments, retry: RetryArguments) -> Result<Self, Failure> {
        Self::with_patience(node, retry.retries, SILENCE_MAX)
    }

    /// A node that may be silent for so long.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn with_patience(
        node: &NodeArguments,
        retries: u32,
        silence: Duration,
    ) -> Result<Self, Failure> {
        let config = Agent::config_builder()
            .tls_config(node.trust.config(node.url.is_secured())?)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("changeagent/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            url: node.url.clone(),
            retries,
            deadline: None,
            authorization: node.authorization()?,
            cluster: OnceCell::new(),
        })
    }

    /// The same, which is waited for until then, whatever it is asked.
    pub(super) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    /// A node of the same cluster, perhaps this one, which is asked once at a time.
    pub(super) fn witness(&self, url: Url) -> Self {
        let (agent, cluster) = (self.agent.clone(), self.cluster.clone());
        let (deadline, authorization) = (self.deadline, self.authorization.clone());
        Self { agent, url, retries: 0, deadline, authorization, cluster }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The history that the node serves, once it has answered.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.get().map(String::as_str)
    }

    /// As many tries as were asked for.
    pub(super) fn backoff(&self) -> Backoff {
        Backoff::bounded(self.retries).until(self.deadline)
    }

    /// Asks once.
    pub(super) fn get(&self, target: &str, accept: &str) -> Result<Answer, Failure> {
        let request = Request::get(self.uri(target)).header("Accept", accept);
        let request = self.authorized(request).body(());
        self.answer(&Method::GET, target, request.map(|request| self.run(request)))
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, ureq::Error> {
        let Some(deadline) = self.deadline else { return self.agent.run(request) };
        let left = deadline.saturating_duration_since(Instant::now()).max(LEAST);
        let limited = self.agent.configure_request(request).timeout_global(Some(left));
        self.agent.run(limited.build())
    }

    /// Asks until there is an answer, or all tries are used up.
    pub(super) fn get_json(&self, target: &str) -> Result<Vec<u8>, Failure> {
        let mut backoff = self.backoff();
        loop {
            match self.get(target, JSON).and_then(Answer::bytes) {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => backoff.wait(failure)?,
            }
        }
    }

    /// The newest id that the node has applied: asks until there is an answer, or
    /// all tries are used up.
    pub(super) fn get_newest(&self) -> Result<u64, Failure> {
        let mut backoff = self.backoff();
        loop {
            match self.get("/health", JSON).and_then(|answer| answer.last()) {
                Ok(newest) => return Ok(newest),
                Err(failure) => backoff.wait(failure)?,
            }
        }
    }

    /// Writes until it is acknowledged, refused, or all tries are used up.
    pub(super) fn write(&self, write: &Write<'_>) -> Result<Vec<u8>, WriteFailure> {
        let mut backoff = self.backoff();
        let mut doubtful = false;
        loop {
            let failure = match self.try_write(write).and_then(Answer::bytes) {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => failure,
            };
            doubtful |= failure.is_doubtful();
            backoff.wait(failure).map_err(|failure| WriteFailure { failure, doubtful })?;
        }
    }

    fn try_write(&self, write: &Write<'_>) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(write.method.clone())
            .uri(self.uri(write.target))
            .header("Accept", JSON)
            .header("Idempotency-Key", write.key);
        let request = self.authorized(request);
        let outcome = match write.body {
            Some(body) => {
                request.header("Content-Type", JSON).body(body).map(|request| self.run(request))
            }
            None => request.body(()).map(|request| self.run(request)),
        };
        self.answer(&write.method, write.target, outcome)
    }

    fn authorized(&self, request: Builder) -> Builder {
        match &self.authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        }
    }

    fn uri(&self, target: &str) -> String {
        format!("{}{target}", self.url)
    }

    fn answer(
        &self,
        method: &Method,
        target: &str,
        outcome: Result<Result<Response<Body>, ureq::Error>, ureq::http::Error>,
    ) -> Result<Answer, Failure> {
        let request = format!("{method} {}", self.uri(target));
        let response = match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(ureq::Error::Http(error))) | Err(error) => {
                return Err(Failure::Other(format!("{request}: {error}")));
            }
            Ok(Err(error)) => return Err(broken::failure(request, &error)),
        };
        let answer = Answer { request, response };
        self.check_cluster(&answer)?;
        if answer.response.status().is_success() {
            return Ok(answer);
        }
        let status = answer.response.status().as_u16();
        Err(answer.refusal(advice(status, target, self.authorization.is_some())))
    }

    fn check_cluster(&self, answer: &Answer) -> Result<(), Failure> {
        // A proxy that answers for the node says nothing of its history.
        let Some(cluster) = answer.header("changeagent-cluster") else { return Ok(()) };
        let known = self.cluster.get_or_init(|| cluster.to_owned());
        if known == cluster {
            return Ok(());
        }
        Err(Failure::Other(format!(
            "{}: this is the history of cluster {cluster}, before it was that of {known}",
            answer.request
        )))
    }
}

fn cut(request: &str, error: &impl fmt::Display) -> Failure {
    Failure::Broken { request: request.to_owned(), reason: error.to_string(), sent: true }
}

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub(super) struct Answer {
    request: String,
    response: Response<Body>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// What a header says, which is a number.
    pub(super) fn number(&self, name: &str) -> Result<u64, Failure> {
        self.header(name)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::Other(format!("{}: the answer has no {name}", self.request)))
    }

    /// The newest id that the node had applied.
    pub(super) fn last(&self) -> Result<u64, Failure> {
        self.header("changeagent-last").and_then(|text| text.parse().ok()).ok_or_else(|| {
            Failure::Other(format!("{}: not the answer of a ChangeAgent", self.request))
        })
    }

    /// Whether the body is of that media type.
    pub(super) fn is(&self, media_type: &str) -> bool {
        self.response.body().mime_type() == Some(media_type)
    }

    /// The whole body.
    pub(super) fn bytes(self) -> Result<Vec<u8>, Failure> {
        let body = self.response.into_body().into_with_config().limit(ANSWER_BYTES_MAX);
        body.read_to_vec().map_err(|error| cut(&self.request, &error))
    }

    /// The body as it arrives, with what makes a failure of a failed read.
    pub(super) fn reader(self) -> (BodyReader<'static>, impl Fn(std::io::Error) -> Failure) {
        let request = self.request;
        (self.response.into_body().into_reader(), move |error| cut(&request, &error))
    }

    /// What the node refused a request with, and what there is to give.
    fn refusal(self, advice: Option<&'static str>) -> Failure {
        const PROBLEM_BYTES_MAX: u64 = 1 << 20;
        let status = self.response.status().as_u16();
        let retry_after = self.header("retry-after").and_then(|text| text.parse().ok());
        let body = self.response.into_body().into_with_config().limit(PROBLEM_BYTES_MAX);
        let problem = body.read_to_vec().ok();
        let problem: Problem =
            problem.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let retry_after = retry_after.map(Duration::from_secs);
        let problem = Box::new(Problem { status, advice, retry_after, ..problem });
        Failure::Refused { request: self.request, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_node_over_http() {
        for (text, url) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://h:1/", "http://h:1"),
            ("https://h:1/", "https://h:1"),
            ("http://[::1]:9000/behind/", "http://[::1]:9000/behind"),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), url);
        }
        for text in ["", "h:1", "127.0.0.1", "https:/h", "ftp://h", "http://", "http://h/?a"] {
            assert!(text.parse::<Url>().is_err(), "{text:?}");
        }
    }
}
