//! The poller of a core that glommio runs, which watches its epoll.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use glommio::io::PollableFd;

use crate::io::real::poller::Poller;

thread_local! {
    /// With the number of the executor that watches it.
    static OF_THIS_CORE: RefCell<Option<(usize, Rc<Poller>)>> = const { RefCell::new(None) };
}

/// The poller of this core.
pub(in crate::io::real) fn poller() -> io::Result<Rc<Poller>> {
    let executor = glommio::executor().id();
    OF_THIS_CORE.with_borrow_mut(|known| match known {
        Some((of, poller)) if *of == executor => Ok(Rc::clone(poller)),
        _ => {
            let poller = Rc::new(Poller::new()?);
            let watched = PollableFd::new(Rc::clone(&poller))?;
            glommio::spawn_local(watch(watched)).detach();
            *known = Some((executor, Rc::clone(&poller)));
            Ok(poller)
        }
    })
}

async fn watch(poller: PollableFd<Rc<Poller>>) {
    loop {
        poller.get_ref().hand_on(Some(Duration::ZERO));
        if let Err(error) = poller.readable().await {
            panic!("the sockets of a core cannot be watched: {error}");
        }
    }
}
