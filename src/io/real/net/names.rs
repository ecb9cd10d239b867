//! Addresses of names.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    rc::Rc,
};

use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};

use crate::io::cores;

/// What a name stands for, or why that is not known.
type Found = Result<Rc<[SocketAddr]>, (io::ErrorKind, String)>;

thread_local! {
    /// Names that are being looked up: one at a time for each, since a name server
    /// that does not answer would hold a thread for every try to connect.
    static LOOKUPS: RefCell<HashMap<String, Shared<LocalBoxFuture<'static, Found>>>> =
        RefCell::default();
}

/// The addresses of `host:port`.
pub(super) async fn resolve(address: &str) -> io::Result<Rc<[SocketAddr]>> {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Ok([address].into());
    }
    let under_way = LOOKUPS.with_borrow(|lookups| lookups.get(address).cloned());
    let lookup = under_way.unwrap_or_else(|| {
        let name = address.to_owned();
        let lookup = look_up(name.clone()).boxed_local().shared();
        LOOKUPS.with_borrow_mut(|lookups| lookups.insert(name.clone(), lookup.clone()));
        let ended = lookup.clone();
        // It goes on when nobody waits any more.
        cores::spawn(async move {
            // Whoever waits hears it too.
            let _ = ended.await;
            LOOKUPS.with_borrow_mut(|lookups| lookups.remove(&name));
        });
        lookup
    });
    lookup.await.map_err(|(kind, text)| io::Error::new(kind, text))
}

async fn look_up(name: String) -> Found {
    let told = name.clone();
    let look_up = move || name.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let found = cores::on_own_thread("resolve", look_up).await.and_then(|found| found);
    match found {
        Ok(found) if found.is_empty() => {
            Err((io::ErrorKind::NotFound, format!("{told} has no address")))
        }
        Ok(found) => Ok(found.into()),
        Err(error) => Err((error.kind(), error.to_string())),
    }
}
