//! One line: who asked for what, and what came of it.

use std::{mem, sync::Arc};

use serde_json::{Map, Value};

use super::queue::Audit;
use crate::{
    api::{
        access::{Principal, Who},
        context::Core,
        error::{Code, excerpt},
        route::Resource,
    },
    base::{
        ids::Timestamp,
        json_string::json_string,
        limits::NAME_BYTES_MAX,
        moment,
        tokens::{Token, TokenId},
    },
    http::{Request, Response},
    io::{cores, net::Peer},
};

/// Members of answers that say what was made or set. No other is told: there may be a secret among them.
const TOLD: [&str; 15] = [
    "id",
    "_id",
    "name",
    "tenant",
    "collection",
    "role",
    "scope",
    "expires",
    "address",
    "changes",
    "age",
    "writes_per_second",
    "reads_per_second",
    "waits",
    "bytes_per_second",
];
/// The longest answer that is looked at for these, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 10;
/// The most segments of a path that are told; no route has as many.
const SEGMENTS_MAX: usize = 8;

/// A request that is told of. It is told when its answer is known, or else, when it is dropped, as one of which nobody
/// knows what came of it.
#[derive(Debug)]
pub struct Event {
    audit: Arc<Audit>,
    /// The line up to the outcome; empty once it is told.
    line: String,
}

impl Event {
    pub(super) fn new(
        audit: Arc<Audit>,
        core: &Core,
        request: &Request,
        principal: &Principal,
        from: Option<Peer>,
    ) -> Self {
        let at = moment::text(Timestamp(cores::wall_micros()));
        let node = core.node.status().cluster().node;
        let from = from.map_or("null".to_owned(), |from| format!("\"{from}\""));
        let who = who(core, principal);
        let method = json_string(&excerpt(request.method_name()));
        let path = json_string(&path(request));
        let line = format!(
            "{{\"time\":\"{at}\",\"node\":{node},\"from\":{from},{who},\"method\":{method},\"path\":{path}"
        );
        Self { audit, line }
    }

    /// Tells it with what the client is answered.
    pub fn answered(mut self, response: &Response) {
        let answer = Some(response.body()).filter(|body| body.len() <= ANSWER_BYTES_MAX);
        let answer =
            answer.and_then(|body| serde_json::from_slice::<Map<String, Value>>(body).ok());
        let mut answer = answer.unwrap_or_default();
        let status = response.status();
        let code = answer.get("code").and_then(Value::as_str).unwrap_or_default();
        let outcome = match status {
            ..300 => "done",
            _ if code == Code::UnknownOutcome.as_str() => "unknown",
            500.. => "failed",
            _ => "refused",
        };
        let rest = if status < 300 {
            answer.retain(|name, _| TOLD.contains(&&**name));
            format!("\"result\":{}", Value::Object(answer))
        } else {
            format!("\"code\":{}", json_string(code))
        };
        self.tell(&format!(",\"outcome\":\"{outcome}\",\"status\":{status},{rest}"));
    }

    fn tell(&mut self, end: &str) {
        let line = mem::take(&mut self.line);
        self.audit.tell(format!("{line}{end}}}\n"));
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.tell(",\"outcome\":\"unknown\"");
        }
    }
}

/// Who that is, as members of the line.
fn who(core: &Core, principal: &Principal) -> String {
    match principal.who {
        Who::Open => "\"who\":\"anybody\"".to_owned(),
        Who::Root => "\"who\":\"root\"".to_owned(),
        Who::Node => "\"who\":\"node\"".to_owned(),
        Who::Anonymous => "\"who\":\"anonymous\"".to_owned(),
        Who::Jwt(_) => "\"who\":\"jwt\"".to_owned(),
        Who::Token(id) => {
            let name = core.node.index().tokens.get(id).map(|token| json_string(&token.name));
            let name = name.unwrap_or_else(|| "null".to_owned());
            format!("\"who\":\"token\",\"token_id\":\"{id}\",\"token_name\":{name}")
        }
    }
}

/// A segment that no name is as long as is cut.
fn cut(segment: &str) -> String {
    match segment.char_indices().nth(NAME_BYTES_MAX) {
        None => segment.to_owned(),
        Some((end, _)) => format!("{}…", &segment[..end]),
    }
}

/// The path of a request, without its parameters, and without what may be a token in it.
fn path(request: &Request) -> String {
    let segments = request.path_segments();
    let misplaced = match Resource::of(&segments) {
        Some(Resource::Token(text)) if text.parse::<TokenId>().is_err() => Some(text),
        _ => None,
    };
    let mut path = String::new();
    for segment in segments.iter().take(SEGMENTS_MAX) {
        path.push('/');
        match misplaced == Some(*segment) || Token::id_of(segment.as_bytes()).is_some() {
            true => path.push('…'),
            false => path += &cut(segment).replace('%', "%25").replace('/', "%2F"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{audit::queue::Entry, error::ApiError, metrics::Metrics};

    /// What is told of an event by what `end` does with it.
    fn told(end: impl FnOnce(Event)) -> Value {
        let (audit, lines) = Audit::new(&Metrics::default());
        end(Event { audit: audit.into(), line: "{\"node\":1".to_owned() });
        let Ok(Entry::Line(line)) = lines.try_recv() else { panic!("nothing is told") };
        assert!(lines.try_recv().is_err(), "it is told once");
        serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap()
    }

    #[test]
    fn the_outcome_is_what_the_client_is_told_or_unknown() {
        let outcome = |response: Response| {
            let line = told(|event| event.answered(&response));
            line["outcome"].as_str().unwrap().to_owned()
        };
        let refused = |code| ApiError::new(code, "x").into();
        assert_eq!(outcome(Response::json(202, "{}")), "done");
        assert_eq!(outcome(refused(Code::Forbidden)), "refused");
        assert_eq!(outcome(refused(Code::NoLeader)), "failed");
        assert_eq!(outcome(refused(Code::UnknownOutcome)), "unknown");
        assert_eq!(told(drop)["outcome"], "unknown");
    }

    #[test]
    fn of_an_answer_only_what_is_no_secret_is_told() {
        let body =
            r#"{"id":"1","token":"secret","ticket":"secret","name":"\u2028 \"n\"","other":1}"#;
        let line = told(|event| event.answered(&Response::json(201, body)));
        assert_eq!(line["result"], serde_json::json!({"id": "1", "name": "\u{2028} \"n\""}));
        let line = told(|event| event.answered(&Response::json(200, "null")));
        assert_eq!(line["result"], serde_json::json!({}));
        let long = format!("{{\"id\":\"{}\"}}", "x".repeat(ANSWER_BYTES_MAX));
        let line = told(|event| event.answered(&Response::json(200, long)));
        assert_eq!(line["result"], serde_json::json!({}));
    }
}
