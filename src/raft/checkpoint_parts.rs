//! What the checkpoint that stands for purged entries has of some tenants, made for who may not have more of it, or
//! wants no more.
//!
//! ```text
//! asked for · written, without a name · given piece by piece · dropped a while after the last one
//! ```

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Instant};

use super::types::unplaced_members;
use crate::{
    base::{limits::CHECKPOINT_PARTS_MAX, tenants::Tenants, timing::CHECKPOINT_KEPT},
    checkpoint::{store, write_part},
    io::{Files, cores, map::Mapping},
};

/// The parts that were asked for lately. One at a time is made.
#[derive(Default)]
pub(super) struct CheckpointParts(RefCell<Inner>);

#[derive(Default)]
struct Inner {
    /// Invariant: at most [`CHECKPOINT_PARTS_MAX`].
    kept: Vec<Part>,
    is_making: bool,
}

struct Part {
    tenants: Tenants,
    /// What it is of: another checkpoint of the same entry may lack what was redacted since.
    whole: Arc<Mapping>,
    map: Arc<Mapping>,
    asked: Instant,
}

/// What there is of a part.
enum Found {
    Made(Arc<Mapping>),
    /// It cannot be made now.
    Busy,
    /// It is for who asks to make it.
    Nothing(Making),
}

impl CheckpointParts {
    fn find(self: &Rc<Self>, whole: &Arc<Mapping>, tenants: &Tenants) -> Found {
        let inner = &mut *self.0.borrow_mut();
        if let Some(at) = inner.kept.iter().position(|part| part.tenants == *tenants) {
            match inner.kept.get_mut(at).filter(|part| Arc::ptr_eq(&part.whole, whole)) {
                Some(part) => {
                    part.asked = cores::now();
                    return Found::Made(Arc::clone(&part.map));
                }
                // What it is of was replaced.
                None => drop_off_core(inner.kept.swap_remove(at)),
            }
        }
        if inner.is_making || inner.kept.len() >= CHECKPOINT_PARTS_MAX {
            return Found::Busy;
        }
        inner.is_making = true;
        Found::Nothing(Making(Rc::clone(self)))
    }

    /// Keeps a part for as long as it is asked for.
    fn keep(self: &Rc<Self>, part: Part) {
        let (parts, tenants) = (Rc::clone(self), part.tenants.clone());
        {
            let kept = &mut self.0.borrow_mut().kept;
            kept.push(part);
            assert!(kept.len() <= CHECKPOINT_PARTS_MAX, "one is made where there is room");
        }
        cores::spawn(async move {
            while parts.is_wanted(&tenants) {
                cores::sleep(CHECKPOINT_KEPT).await;
            }
        });
    }

    /// Whether the part of these tenants was asked for lately; one that was not is dropped.
    fn is_wanted(&self, tenants: &Tenants) -> bool {
        let inner = &mut *self.0.borrow_mut();
        let Some(at) = inner.kept.iter().position(|part| part.tenants == *tenants) else {
            return false;
        };
        if inner.kept.get(at).is_some_and(|part| cores::elapsed(part.asked) < CHECKPOINT_KEPT) {
            return true;
        }
        drop_off_core(inner.kept.swap_remove(at));
        false
    }
}

/// The bytes of a part go with it.
fn drop_off_core(part: Part) {
    cores::off_core_detached(move || drop(part));
}

/// A part is being made.
struct Making(Rc<CheckpointParts>);

impl Drop for Making {
    fn drop(&mut self) {
        self.0.0.borrow_mut().is_making = false;
    }
}

/// What the checkpoint in `whole` has of these tenants, as a checkpoint of the same entry, which is made first; `None`
/// while another is made, or as many are given as may be at once.
pub(super) async fn part<F: Files>(
    parts: &Rc<CheckpointParts>,
    files: F,
    whole: Arc<Mapping>,
    tenants: &Tenants,
) -> Option<io::Result<Arc<Mapping>>> {
    let making = match parts.find(&whole, tenants) {
        Found::Made(map) => return Some(Ok(map)),
        Found::Busy => return None,
        Found::Nothing(making) => making,
    };
    let (of, from) = (tenants.clone(), Arc::clone(&whole));
    let cut = move || cut(&files, &from, &of);
    let made = cores::in_background("checkpoint", cut).await.flatten().map(Arc::new);
    drop(making);
    if let Ok(map) = &made {
        let (tenants, map, asked) = (tenants.clone(), Arc::clone(map), cores::now());
        parts.keep(Part { tenants, whole, map, asked });
    }
    Some(made)
}

fn cut(files: &impl Files, whole: &Mapping, tenants: &Tenants) -> io::Result<Mapping> {
    // It may have to come from the disk, which would end the process where it does not give it
    // without being asked.
    whole.populate(0..whole.len())?;
    let bytes = whole.get(0..whole.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
    store::unnamed(files, store::PART, |out| write_part(bytes, tenants, unplaced_members, out))
}
