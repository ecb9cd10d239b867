//! Who sends a request, and whether that is known.
//!
//! A node that was given a root token asks every request for a token, but `GET /health` and
//! `GET /ready`, and the question of a browser whether a page may ask. A connection remembers the last
//! header that was found to be good, so a client that sends the same one again costs a comparison.

mod header;
mod refused;

use subtle::ConstantTimeEq;

pub use self::refused::Refused;
use self::{
    header::{HEADER_BYTES_MAX, Presented},
    refused::Why,
};
use super::{
    error::{ApiError, Code},
    route::Resource,
};
use crate::{
    base::secret::{Secret, SecretHash},
    http::{Method, Request},
};

/// What a node asks of requests. Without a root token it asks nothing.
#[derive(Debug, Default)]
pub struct Access(Option<Keys>);

/// The secrets that the node itself was given.
#[derive(Debug)]
struct Keys {
    root: SecretHash,
    /// What other nodes show that were given the same one.
    nodes: SecretHash,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Anybody: the node asks for no token.
    Open,
    /// Who has the root token.
    Root,
    /// A node of this cluster, or one that would join it.
    Node,
    /// Who has none, and asks for what needs none.
    Nobody,
}

/// What a connection remembers of the last header that was good.
#[derive(Debug, Default)]
pub struct Remembered(Option<Box<(Box<[u8]>, Principal)>>);

impl Access {
    /// Asks for tokens if there is a root token.
    #[must_use]
    pub fn new(root: Option<&Secret>) -> Self {
        let keys = |root: &Secret| Keys { root: root.hash(), nodes: root.between_nodes().hash() };
        Self(root.map(keys))
    }

    /// Whether requests need a token.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// Who sends `request`.
    ///
    /// # Errors
    /// [`Refused`]
    pub(super) fn principal(
        &self,
        request: &Request,
        remembered: &mut Remembered,
    ) -> Result<Principal, Refused> {
        let Some(keys) = &self.0 else { return Ok(Principal::Open) };
        let Some(value) = request.header("authorization") else {
            return if needs_nothing(request) {
                Ok(Principal::Nobody)
            } else {
                Err(Why::Missing.into())
            };
        };
        if let Some(known) = remembered.0.as_deref()
            && bool::from(known.0.ct_eq(value))
        {
            return Ok(known.1);
        }
        match keys.verify(value) {
            Ok(principal) => {
                remembered.0 = Some(Box::new((value.into(), principal)));
                Ok(principal)
            }
            // A probe may bear what its tool sends to everybody.
            Err(_) if needs_nothing(request) => Ok(Principal::Nobody),
            Err(why) => Err(why.into()),
        }
    }
}

impl Keys {
    fn verify(&self, value: &[u8]) -> Result<Principal, Why> {
        if value.len() > HEADER_BYTES_MAX {
            return Err(Why::Malformed);
        }
        let presented = Presented::of(value).ok_or(Why::Malformed)?;
        let hash = SecretHash::of(presented.token());
        // Both are compared, whatever comes of the first.
        match (hash == self.root, hash == self.nodes) {
            (true, _) => Ok(Principal::Root),
            (_, true) => Ok(Principal::Node),
            _ => Err(Why::Unknown),
        }
    }
}

/// Whether a request is answered without a token.
fn needs_nothing(request: &Request) -> bool {
    match request.method() {
        Method::Get | Method::Head => {
            let resource = Resource::of(&request.path_segments());
            matches!(resource, Some(Resource::Health | Resource::Ready))
        }
        // A browser asks without credentials whether it may send them.
        Method::Options => request.header("access-control-request-method").is_some(),
        _ => false,
    }
}

/// Whether `principal` may send `request`, as far as its method and path tell.
///
/// # Errors
/// [`Code::Forbidden`]
pub(super) fn permit(principal: Principal, request: &Request) -> Result<(), ApiError> {
    if principal != Principal::Node {
        return Ok(());
    }
    // Before nodes belong together they ask who the other is, and to be taken in.
    let resource = Resource::of(&request.path_segments());
    match (request.method(), resource) {
        (Method::Get, Some(Resource::Cluster)) | (Method::Post, Some(Resource::Members)) => Ok(()),
        _ => {
            let detail = "the token of nodes is for GET /cluster and POST /cluster/members alone";
            Err(ApiError::new(Code::Forbidden, detail))
        }
    }
}
