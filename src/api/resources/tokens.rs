//! `/tokens`, `/tokens/ID` and `/tokens/anonymous`.

use rand::Rng as _;
use uuid::Uuid;

use crate::{
    api::{
        body::token::{self, ScopeName, TokenBody},
        context::Context,
        error::{ApiError, Code, excerpt},
        read::names,
        reply::Reply,
        request::{
            ReadQuery, conditions,
            content_type::body_form,
            idempotency,
            path::{self, CollectionPath},
        },
        write::{self, AnswerKind},
    },
    base::{
        batch::Action,
        ids::Timestamp,
        json_string::json_string,
        moment,
        secret::{Hidden, SecretHash},
        tokens::{Rights, Scope, Token, TokenId},
    },
    http::{Request, Response},
    io::cores,
    state::index::Slice,
};

/// `POST /tokens`
pub(in crate::api) fn create(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    check_required(api)?;
    conditions::refuse(request)?;
    let form = body_form(request)?;
    let asked = idempotency::of_small(request)?;
    let TokenBody { name, role, scope, expires } = token::parse(request.body(), form)?;
    // What it is for may be gone by now, and its end past. A repeat shows no secret.
    let kind = AnswerKind::Token(TokenId(0), Hidden::default());
    if let Some(reply) = write::repeated(api, asked.as_ref(), &kind) {
        return Ok(reply);
    }
    let rights = Rights { role, scope: looked_up(api, &scope)? };
    if !api.principal.rights.is_some_and(|own| own.covers(rights)) {
        let detail = "no token may give more than it may itself";
        return Err(ApiError::new(Code::Forbidden, detail));
    }
    if expires.is_some_and(|expires| expires.0 <= cores::wall_micros()) {
        let detail = "member \"expires\" lies in the past";
        return Err(ApiError::new(Code::InvalidParameter, detail).with_text("member", "expires"));
    }
    let creator = api.principal.grantor();
    let id = free_id(api);
    let mut secret = [0; 32];
    cores::rng().fill_bytes(&mut secret);
    let text = Token::text(id, &secret);
    let hash = SecretHash::of(text.as_bytes());
    let token = Token { id, name, rights, hash, creator, created: Timestamp::default(), expires };
    // Texts of this form are JSON strings as they are.
    let body = format!("{{\"id\":\"{id}\",\"token\":\"{text}\",{}}}", members(&token));
    let kind = AnswerKind::Token(id, Hidden(body.into()));
    let room = key_room(api, rights.scope);
    write::propose(api, Action::CreateToken(Box::new(token)), room, asked, kind)
}

/// An id that no token has, as far as is known here.
fn free_id(api: &Context) -> TokenId {
    loop {
        let id = TokenId(cores::random());
        if id.is_of_a_token() && api.node.index().tokens.get(id).is_none() {
            return id;
        }
    }
}

/// `GET /tokens`
pub(in crate::api) async fn list(api: &Context, query: &ReadQuery<'_>) -> Reply {
    let mut all = api.node.index().tokens.all();
    all.retain(|token| api.principal.covers(token.rights.scope));
    let slice = |after: Option<&str>, count: usize| {
        let follows = |token: &Token| after.is_none_or(|after| *token.id.to_string() > *after);
        let mut rest = all.iter().filter(|token| follows(token)).peekable();
        let entries: Vec<_> = rest.by_ref().take(count).cloned().collect();
        let next = rest.peek().and_then(|_| entries.last());
        let next = next.map(|last| last.id.to_string().into());
        Slice { entries, next }
    };
    names::list("tokens", query, slice, |token| json(token)).await
}

/// `GET /tokens/ID`
pub(in crate::api) fn get(api: &Context, text: &str) -> Result<Reply, ApiError> {
    let token = found(api, text)?;
    Ok(Reply::Now(Response::json(200, json(&token))))
}

/// `DELETE /tokens/ID`
pub(in crate::api) fn revoke(
    api: &Context,
    request: &Request,
    text: &str,
) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let asked = idempotency::of_small(request)?;
    match found(api, text) {
        Ok(token) => {
            let action = Action::RevokeToken(token.id);
            let room = key_room(api, token.rights.scope);
            write::propose(api, action, room, asked, AnswerKind::Revocation)
        }
        Err(error) => write::repeated(api, asked.as_ref(), &AnswerKind::Revocation).ok_or(error),
    }
}

/// `GET /tokens/anonymous`
pub(in crate::api) fn anonymous(api: &Context) -> Reply {
    Reply::Now(Response::json(200, rights_json(api.node.index().tokens.anonymous())))
}

/// `PUT /tokens/anonymous`
pub(in crate::api) fn set_anonymous(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    check_required(api)?;
    conditions::refuse(request)?;
    let form = body_form(request)?;
    let asked = idempotency::of_small(request)?;
    let rights = token::parse_anonymous(request.body(), form)?;
    let rights = match rights {
        Some((role, scope)) => Some(Rights { role, scope: looked_up(api, &scope)? }),
        None => None,
    };
    let kind = AnswerKind::Anonymous(rights_json(rights).into());
    let action = Action::SetAnonymous(rights, Some(api.principal.grantor()));
    write::propose(api, action, None, asked, kind)
}

/// Where the idempotency key of a write about a token of that scope stands.
fn key_room(api: &Context, scope: Scope) -> Option<Uuid> {
    api.principal.key_room().or(scope.tenant())
}

/// Tokens that are made while nobody needs one would be anybody's.
fn check_required(api: &Context) -> Result<(), ApiError> {
    if api.access.is_required() {
        return Ok(());
    }
    let detail =
        "this node asks for no token, so none can be made: start it with --root-token-file";
    Err(ApiError::new(Code::Forbidden, detail))
}

/// The token that a path names, where it concerns who asks.
fn found(api: &Context, text: &str) -> Result<std::sync::Arc<Token>, ApiError> {
    let id: Option<TokenId> = text.parse().ok();
    let token = id.and_then(|id| api.node.index().tokens.get(id));
    let own = token.filter(|token| api.principal.covers(token.rights.scope));
    // What stands there may be a whole token, by mistake.
    let shown = if id.is_some() { excerpt(text) } else { "…".to_owned() };
    own.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no token {shown:?}")))
}

fn looked_up(api: &Context, name: &ScopeName) -> Result<Scope, ApiError> {
    Ok(match name {
        ScopeName::All => Scope::All,
        ScopeName::Tenant(text) => Scope::Tenant(path::tenant(api.visible(), text)?.id),
        ScopeName::Collection(text) => {
            path::collection(api.visible(), CollectionPath::Id(text))?.scope()
        }
    })
}

/// A token as answers show it.
fn json(token: &Token) -> String {
    let created = moment::text(token.created);
    format!("{{\"id\":\"{}\",{},\"created\":\"{created}\"}}", token.id, members(token))
}

fn members(token: &Token) -> String {
    let (role, scope) = (token.rights.role.name(), scope_json(token.rights.scope));
    let mut text =
        format!("\"name\":{},\"role\":\"{role}\",\"scope\":{scope}", json_string(&token.name));
    if let Some(expires) = token.expires {
        text += &format!(",\"expires\":\"{}\"", moment::text(expires));
    }
    if let Some(creator) = token.creator.text() {
        text += &format!(",\"creator\":\"{creator}\"");
    }
    text
}

/// A scope as answers show it.
pub(in crate::api) fn scope_json(scope: Scope) -> String {
    match scope {
        Scope::All => "{}".to_owned(),
        Scope::Tenant(tenant) => format!("{{\"tenant\":\"{tenant}\"}}"),
        Scope::Collection { collection, .. } => format!("{{\"collection\":\"{collection}\"}}"),
    }
}

fn rights_json(rights: Option<Rights>) -> String {
    match rights {
        None => "null".to_owned(),
        Some(Rights { role, scope }) => {
            format!("{{\"role\":\"{}\",\"scope\":{}}}", role.name(), scope_json(scope))
        }
    }
}
