//! What the requests of one serving core are answered from.

use std::{cell::RefCell, ops::Deref, rc::Rc, sync::Arc};

use tokio::sync::Semaphore;

use super::{
    access::{Access, Principal, Visible},
    account::{Account, Costs},
    audit::Audit,
    browser::BrowserPolicy,
    error::{ApiError, Code},
    hand_on::HandedOn,
    metrics::Metrics,
    read::{SharedPage, question::Lists},
};
use crate::{
    base::{
        held::HeldByCore,
        ids::{ChangeId, ClusterId},
        limits::Limits,
    },
    node::{Handle, copy::Origins},
    state::{ListId, Verified, index::Catalog},
};

/// What every request of a core may use.
pub(super) struct Core {
    pub(super) node: Handle,
    pub(super) limits: Arc<Limits>,
    /// The newest page, for the many who ask the same.
    pub(super) shared: SharedPage,
    /// What was checked of sealed segments.
    pub(super) verified: RefCell<Verified>,
    pub(super) access: Arc<Access>,
    pub(super) browsers: Arc<BrowserPolicy>,
    pub(super) audit: Arc<Audit>,
    /// What the answers hold that are being rendered.
    pub(super) held: Rc<HeldByCore>,
    pub(super) metrics: Arc<Metrics>,
    /// Where writes go, where this node is a copy.
    pub(super) origins: Option<Origins>,
    /// What waits for one of these.
    pub(super) handed_on: Rc<HandedOn>,
    /// Places of those who compress or unpack just now.
    pub(super) coders: Semaphore,
}

/// What one request is answered from: what its core has, as far as it concerns who asks.
pub(super) struct Context {
    core: Rc<Core>,
    /// Who asks.
    pub(super) principal: Principal,
    /// Whom it is billed to.
    pub(super) account: RefCell<Account>,
    /// What it costs.
    pub(super) costs: Costs,
}

impl Deref for Context {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Context {
    /// What a request of `principal` is answered from, which costs so much.
    pub(super) fn new(core: &Rc<Core>, principal: Principal, costs: Costs) -> Self {
        Self { core: Rc::clone(core), principal, account: RefCell::default(), costs }
    }

    /// The same of one that was billed as far as `account` says, which keeps to be told what is billed now.
    pub(super) fn billed(self, account: &mut Account) -> Self {
        Self { account: std::mem::take(account).into(), ..self }
    }

    /// The tenants and collections that concern who asks, by their names.
    pub(super) fn visible(&self) -> Visible<'_> {
        Visible::new(self.catalog(), self.principal.scope())
    }
}

impl Core {
    /// The tenants and collections by their names.
    pub(super) fn catalog(&self) -> &Catalog {
        &self.node.index().catalog
    }

    /// The oldest and the newest change that one of these lists may have here.
    pub(super) fn bounds_of(&self, lists: &Lists) -> (ChangeId, ChangeId) {
        let (first, last) = self.bounds();
        let begins = lists.each().iter().map(|list| self.begins(*list)).min();
        (first.max(begins.unwrap_or_default()), last)
    }

    /// Whether the ids of a request are of this history, as far as it says.
    ///
    /// # Errors
    /// [`Code::OtherHistory`], naming this one.
    pub(super) fn check_history(&self, asked: Option<ClusterId>) -> Result<(), ApiError> {
        let own = self.node.cluster();
        match asked {
            Some(asked) if asked != own => {
                let detail = format!("ids of the history {asked} mean nothing here: this is {own}");
                let error = ApiError::new(Code::OtherHistory, detail);
                Err(error.with_text("cluster", own.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// The lowest change that a list may have, as far as its tenant says.
    fn begins(&self, list: ListId) -> ChangeId {
        let tenant = match list {
            ListId::All => None,
            ListId::Tenant(id) => Some(id),
            ListId::Collection(id) => self.catalog().collection(id).map(|of| of.tenant),
        };
        let tenant = tenant.and_then(|id| self.catalog().tenant(id));
        tenant.map_or(ChangeId::ZERO, |tenant| tenant.begins())
    }

    /// The oldest and the newest change held.
    pub(super) fn bounds(&self) -> (ChangeId, ChangeId) {
        let history = self.node.history();
        (history.first(), history.last())
    }
}
