//! The lock that providers take.

use std::sync::Arc;

use pp_core::lock::{Locked, SpinLock};

use super::thread;

/// Two threads add to a number under the lock.
pub(crate) fn exclusion() -> &'static str {
    let number = Arc::new(Locked::<SpinLock, _>::new(0));
    let threads = [number.clone(), number.clone()].map(|number| {
        thread::spawn(move || {
            number.with(|number| {
                *number += 1;
                *number
            })
        })
    });
    let [first, second] = threads.map(|thread| thread.join().unwrap());
    assert_eq!(number.with(|number| *number), 2);
    match (first, second) {
        (1, 2) => "first, second",
        (2, 1) => "second, first",
        other => panic!("both had the lock: {other:?}"),
    }
}
