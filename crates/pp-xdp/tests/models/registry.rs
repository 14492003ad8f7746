//! Ids while queues come and go.

use loom::thread;
use pp_core::PoolState;
use pp_xdp::{LookupError, MemId, MemModel, MemType, Registry, Share};

/// An allocator that says who it is.
struct Known(PoolState);

impl Share for Known {
    fn state(&self) -> PoolState {
        self.0
    }
}

fn model(state: PoolState) -> MemModel {
    MemModel::new(MemType::User, Known(state))
}

/// A registry with `ids` ids.
fn registry(ids: u16) -> Registry {
    Registry::with_ids(MemId::MIN, MemId::new(ids).expect("a few"))
}

/// Two queues register at the same time: they get different ids, and each finds itself under its own.
pub(crate) fn two_register() -> &'static str {
    let registry = registry(2);
    let [first, second] = [PoolState::Open, PoolState::Closed].map(|state| {
        let registry = registry.clone();
        thread::spawn(move || {
            let registration = registry.register(model(state)).expect("an id for each");
            let id = registration.info().id.expect("an allocator has one");
            assert_eq!(registry.lookup(id).expect("registered").state(), state, "somebody else has this id");
            (id, registration)
        })
    });
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert_ne!(first.0, second.0);
    if first.0 == MemId::MIN { "first, second" } else { "second, first" }
}

/// One looks an allocator up while its queue goes and another wants the only id: as long as the look lasts, the id means
/// nobody else.
pub(crate) fn lookup_against_reuse() -> &'static str {
    let registry = registry(1);
    let old = registry.register(model(PoolState::Open)).expect("the only id");
    let (looking, going) = (registry.clone(), registry.clone());
    let looker = thread::spawn(move || {
        let Ok(found) = looking.lookup(MemId::MIN) else { return None };
        let first = found.state();
        match looking.lookup(MemId::MIN) {
            Ok(again) => assert_eq!(again.state(), first, "the id changed hands under a look at it"),
            Err(error) => {
                assert_eq!(error, LookupError::Leaving { id: MemId::MIN }, "the id was freed under a look at it")
            }
        }
        Some(first)
    });
    let owner = thread::spawn(move || {
        drop(old);
        going.register(model(PoolState::Closed))
    });
    let (found, new) = (looker.join().unwrap(), owner.join().unwrap());
    let reused = new.is_ok();
    drop(new);
    assert_eq!(registry.ids_in_use(), 0, "an id was lost");
    match (found, reused) {
        (Some(PoolState::Open), true) => "old, then reused",
        (Some(PoolState::Open), false) => "old, still in hand",
        (Some(_), _) => "new",
        (None, true) => "none, reused",
        (None, false) => "none, and no id",
    }
}

/// The last look at an allocator that has gone ends while a newcomer wants the only id: it gets it or is told that there is none, and
/// no id is lost.
pub(crate) fn last_look_against_register() -> &'static str {
    let registry = registry(1);
    let old = registry.register(model(PoolState::Open)).expect("the only id");
    let found = old.mem_ref().expect("registered");
    drop(old);
    let wanting = registry.clone();
    let looker = thread::spawn(move || drop(found));
    let newcomer = thread::spawn(move || wanting.register(model(PoolState::Closed)).map(|new| (new.mem_ref(), new)));
    looker.join().unwrap();
    let new = newcomer.join().unwrap();
    match new {
        Ok((found, new)) => {
            assert_eq!(found.expect("registered").state(), PoolState::Closed);
            drop(new);
            assert_eq!(registry.ids_in_use(), 0);
            "free"
        }
        Err(_) => {
            assert_eq!(registry.ids_in_use(), 0, "the last look frees the id");
            "in hand"
        }
    }
}
