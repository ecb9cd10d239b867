//! The HTTP API: requests come in, answers or things to wait for go out. It knows
//! nothing of sockets.
//!
//! [`Api`] is its face. `dispatch` finds what a request is for in the table of
//! `route` and hands it to one of `resources`, which take it apart with `request`
//! and `body`, and answer it with `read` and `write`.

pub mod access;
mod account;
pub mod audit;
mod billing;
pub mod body;
pub mod browser;
pub mod coding;
mod context;
mod dispatch;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod growing;
mod hand_on;
mod head;
mod headers;
pub mod introduction;
pub mod json;
pub mod metrics;
mod parts;
pub mod read;
mod refusal;
mod reply;
pub mod request;
mod resources;
mod route;
mod streamed;
mod write;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use self::{
    access::{Access, Principal, Remembered},
    account::Costs,
    audit::Audit,
    browser::{BrowserPolicy, Reader},
    coding::{Accepted, Coding},
    context::{Context, Core},
    error::{ApiError, Code},
    growing::Growing,
    hand_on::HandedOn,
    metrics::Metrics,
    read::SharedPage,
    route::Resource,
};
pub use self::{
    account::Account,
    billing::Bills,
    growing::FULL,
    headers::{date, http_context},
    read::stream::Next,
    reply::{Parked, Reply},
    route::ROUTES,
    streamed::Streamed,
    write::{Told, Write},
};
use crate::{
    base::{
        held::HeldByCore,
        limits::{CODERS_MAX, Limits},
    },
    http::{Request, Response},
    io::{cores, net::Peer},
    node::{Handle, copy::Origins},
    state::Verified,
};

/// How often a core looks whether tokens were revoked that requests wait with.
const REVOCATION_LOOK: Duration = Duration::from_millis(200);

/// The API of one serving core. What is asked of it begins by catching up with what the Raft
/// core has told, so that whoever was told of a write on any core can read it here.
pub struct Api(Rc<Core>);

impl Api {
    /// An API in front of `node` that keeps to `limits`, asks for tokens as `access` says, lets pages
    /// of the web do what `browsers` allows, tells `audit` who administers, and counts in `metrics`, and in `held`
    /// what the answers hold that it renders.
    #[must_use]
    pub fn new(
        node: Handle,
        limits: Arc<Limits>,
        access: Arc<Access>,
        browsers: Arc<BrowserPolicy>,
        audit: Arc<Audit>,
        held: Rc<HeldByCore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (shared, verified) = (SharedPage::default(), Verified::default().into());
        let origins = node.status().copy().map(|copy| Origins::new(copy.of()));
        let handed_on = HandedOn::new(limits.handed_on);
        Self(Rc::new(Core {
            node,
            limits,
            shared,
            verified,
            access,
            browsers,
            audit,
            held,
            metrics,
            origins,
            handed_on,
            coders: Semaphore::new(CODERS_MAX),
        }))
    }

    /// Who sends `request` from there, on a connection that remembers so much. What is refused is counted.
    ///
    /// # Errors
    /// The refusal that it earns.
    pub fn principal(
        &self,
        request: &Request,
        remembered: &mut Remembered,
        from: impl FnOnce() -> Option<Peer>,
    ) -> Result<Principal, ApiError> {
        let index = self.0.node.index();
        self.0.access.principal(request, index, remembered, from).map_err(|refused| {
            self.0.metrics.unauthenticated(refused);
            refused.error()
        })
    }

    /// What is to be told of `request` in the audit log, which `principal` sent from there.
    #[must_use]
    pub fn audited(
        &self,
        request: &Request,
        principal: &Principal,
        from: impl FnOnce() -> Option<Peer>,
    ) -> Option<Box<audit::Event>> {
        audit::event(&self.0, request, principal, from).map(Box::new)
    }

    /// Whether the node asks for tokens.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        self.0.access.is_required()
    }

    /// Whether `principal` may still do what it could when it was found out.
    pub fn is_good(&self, principal: &mut Principal) -> bool {
        self.0.access.is_good(principal, self.0.node.index())
    }

    /// The same, with the refusal; that is counted.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`]
    pub fn check_good(&self, principal: &mut Principal) -> Result<(), ApiError> {
        if self.is_good(principal) {
            return Ok(());
        }
        let refused = principal.refused();
        self.0.metrics.unauthenticated(refused);
        Err(refused.error())
    }

    /// Until when to wait at most with a request of `principal` that is to wait until `until`, before it is
    /// looked at again.
    #[must_use]
    pub fn wait_until(&self, principal: &Principal, until: Instant, now: Instant) -> Instant {
        let expires = principal.left().and_then(|left| now.checked_add(left));
        let stale_at = self.0.node.status().copy().and_then(|copy| copy.stale_at(now));
        expires.into_iter().chain(stale_at).fold(until, Instant::min)
    }

    /// Resolves when some may do less than before `seen`, which is that of the moment from then on.
    pub async fn rights_taken_away(&self, seen: &mut u64) {
        let (access, index) = (&self.0.access, self.0.node.index());
        while access.generation(index) == *seen {
            cores::sleep(REVOCATION_LOOK).await;
        }
        *seen = access.generation(index);
    }

    /// Answers `request` of `principal`, which arrived at `now`, and notes in `account` whom it is billed to.
    pub async fn handle(
        &self,
        request: Box<Request>,
        principal: Principal,
        account: &mut Account,
        now: Instant,
    ) -> Reply {
        self.0.node.catch_up();
        let context = Context::new(&self.0, principal, Costs::of(&request, now)).billed(account);
        let reply = match self.admit(&request, &context) {
            Ok(()) => dispatch::handle(&context, request, now, None).await,
            Err(error) => Reply::Now(error.into()),
        };
        *account = context.account.into_inner();
        reply
    }

    /// Answers a write of `principal` anew, which arrived at `since`, as [`Told::Again`] asks for.
    pub async fn again(
        &self,
        request: Box<Request>,
        principal: Principal,
        account: &mut Account,
        since: Instant,
    ) -> Reply {
        self.0.node.catch_up();
        let context = Context::new(&self.0, principal, Costs::of(&request, since)).billed(account);
        let reply = dispatch::again(&context, request, since).await;
        *account = context.account.into_inner();
        reply
    }

    /// What is billed of requests in hand.
    #[must_use]
    pub fn bills(&self) -> Bills<'_> {
        Bills::new(&self.0)
    }

    /// The coding that the body of a request comes in. Unknown ones are refused with the request.
    #[must_use]
    pub fn coding_of(&self, request: &Request) -> Option<Coding> {
        if request.body().is_empty() {
            return None;
        }
        let name = request.header("content-encoding")?;
        std::str::from_utf8(name).ok().and_then(Coding::named)
    }

    /// Unpacks the body of a request that comes in that coding.
    ///
    /// # Errors
    /// The refusal that it earns.
    pub async fn unpack(&self, request: &mut Request, coding: Coding) -> Result<(), ApiError> {
        let _turn = self.0.coders.acquire().await;
        let bytes_max = self.0.limits.body_bytes;
        let growing = Growing::new(&self.0.held);
        let body = coding::unpack(request.body(), coding, bytes_max, growing).await?;
        request.set_body(body);
        Ok(())
    }

    /// The answer as a client that accepts so much is sent it.
    pub async fn pack(&self, response: Response, accepted: Accepted) -> Response {
        match coding::choose(response, accepted) {
            (response, None) => response,
            // Apart from the connection, which may be parked with it gone.
            (response, Some(coding)) => Box::pin(self.packed(response, coding)).await,
        }
    }

    /// The answer, compressed. It stays as it is where there is no room for a second form of it.
    async fn packed(&self, response: Response, coding: Coding) -> Response {
        let mut growing = Growing::new(&self.0.held);
        // Both forms are there until it is done.
        if growing.hold(2 * response.body().len()).is_err() {
            return response;
        }
        let _turn = self.0.coders.acquire().await;
        coding::pack(response, coding).await
    }

    /// The head of a stream, in that coding.
    #[must_use]
    pub fn stream_head(&self, stream: &Streamed, coding: Option<Coding>) -> Response {
        let head = coding::vary(stream.head());
        match coding {
            Some(coding) => head.with_header("Content-Encoding", coding.name()),
            None => head,
        }
    }

    /// Goes on with a parked read of `principal`, because something changed or because it
    /// has waited long enough.
    pub async fn resume(
        &self,
        parked: Parked,
        principal: Principal,
        account: &mut Account,
        now: Instant,
    ) -> Reply {
        self.0.node.catch_up();
        let context = Context::new(&self.0, principal, Costs::known(now)).billed(account);
        let reply = dispatch::resume(&context, parked, now).await;
        *account = context.account.into_inner();
        reply
    }

    /// The first part of a stream of `principal`, of which nothing is sent yet.
    ///
    /// # Errors
    /// The answer that takes its place, where the first change cannot be read.
    pub async fn begin(
        &self,
        stream: &mut Streamed,
        principal: &mut Principal,
        now: Instant,
    ) -> Result<Result<Next, ApiError>, Response> {
        match self.advance(stream, principal, now).await {
            Err(error) if error.code == Code::Damaged => Err(error.into()),
            first => Ok(first),
        }
    }

    /// The next part of a stream of `principal`.
    ///
    /// # Errors
    /// When it cannot go on: it must break off.
    pub async fn advance(
        &self,
        stream: &mut Streamed,
        principal: &mut Principal,
        now: Instant,
    ) -> Result<Next, ApiError> {
        self.0.node.catch_up();
        if let Err(error) = self.check_good(principal) {
            return parts::refuse(stream, error);
        }
        // What it is of was looked up when it was opened.
        let context = Context::new(&self.0, Principal::OPEN, Costs::known(now));
        parts::advance(&context, stream, now).await
    }

    /// The refusal that a request of `principal` earns whatever its body is; nothing when the
    /// body is needed to tell.
    pub async fn refusal_by_head(
        &self,
        request: &Request,
        principal: Principal,
    ) -> Option<Response> {
        self.0.node.catch_up();
        let context = Context::new(&self.0, principal, Costs::of(request, cores::now()));
        match self.admit(request, &context) {
            Ok(()) => head::refusal(&context, request).await,
            Err(error) => Some(error.into()),
        }
    }

    /// The same, of a request from there whose body is not sent then: the audit log is told of it.
    pub async fn declined(
        &self,
        request: &Request,
        principal: Principal,
        from: impl FnOnce() -> Option<Peer>,
    ) -> Option<Response> {
        let refusal = self.refusal_by_head(request, principal).await?;
        if let Some(event) = self.audited(request, &principal, from) {
            event.answered(&refusal);
        }
        Some(refusal)
    }

    /// The answer to a request that is refused with `error`.
    #[must_use]
    pub fn refusal(&self, request: &Request, error: ApiError) -> Response {
        refusal::refusal(request, error)
    }

    /// Whether a request is about the node or its cluster, and not about what is
    /// stored.
    #[must_use]
    pub fn is_about_node(&self, request: &Request) -> bool {
        Resource::of(&request.path_segments()).is_some_and(|resource| resource.is_of_node())
    }

    /// Who will read the answer to `request`.
    #[must_use]
    pub fn reader(&self, request: &Request) -> Reader<'_> {
        self.0.browsers.reader(request)
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The node behind it.
    #[must_use]
    pub fn node(&self) -> &Handle {
        &self.0.node
    }

    fn admit(&self, request: &Request, context: &Context) -> Result<(), ApiError> {
        let is_nobodys = context.principal.is_nobodys();
        self.0.browsers.admit(request, is_nobodys, || self.0.node.status().cluster().members)?;
        access::permit(&context.principal, request)
    }
}
