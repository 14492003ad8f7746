//! Who holds my pages: a side table from each page that is out to the place that allocated it.
//!
//! Only with feature `leak-trace`. The question it answers is the one behind the kernel's "stalled pool shutdown" warning,
//! which says how many pages are out and since when, and not who has them.

use alloc::vec::Vec;
use core::panic::Location;
use core::ptr::NonNull;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::descriptor::Descriptor;

/// Where and when a page was handed out.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    at: &'static Location<'static>,
    since: Instant,
}

/// The pages one call site has out. See [`who_holds`](crate::PoolHandle::who_holds).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Held {
    /// The call of `alloc`, by file and line.
    pub site: &'static Location<'static>,
    /// How many pages it has out.
    pub pages: usize,
    /// How long the oldest of them has been out.
    pub oldest: Duration,
}

impl core::fmt::Display for Held {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} pages from {}, the oldest for {:?}", self.pages, self.site, self.oldest)
    }
}

#[derive(Default)]
pub(crate) struct Trace(Mutex<HashMap<usize, Site>>);

impl Trace {
    fn table(&self) -> MutexGuard<'_, HashMap<usize, Site>> {
        // A panic while holding it leaves a table that is at worst one entry off.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    pub(crate) fn out(&self, descriptor: NonNull<Descriptor>) {
        let site = Site { at: Location::caller(), since: Instant::now() };
        let mut table = self.table();
        // Without memory for its entry a page goes untraced: a diagnosis must not end what it watches.
        if table.try_reserve(1).is_ok() {
            table.insert(descriptor.addr().get(), site);
        }
    }

    pub(crate) fn back(&self, descriptor: NonNull<Descriptor>) -> Option<Site> {
        self.table().remove(&descriptor.addr().get())
    }

    pub(crate) fn restore(&self, descriptor: NonNull<Descriptor>, site: Option<Site>) {
        if let Some(site) = site {
            self.table().insert(descriptor.addr().get(), site);
        }
    }

    pub(crate) fn held(&self) -> Vec<Held> {
        // One clock reading for all, or the order of the table would get into the ages.
        let now = Instant::now();
        let mut by_site: HashMap<(&str, u32, u32), Held> = HashMap::new();
        for site in self.table().values() {
            let held = by_site.entry((site.at.file(), site.at.line(), site.at.column())).or_insert(Held {
                site: site.at,
                pages: 0,
                oldest: Duration::ZERO,
            });
            held.pages += 1;
            held.oldest = held.oldest.max(now.saturating_duration_since(site.since));
        }
        let mut held: Vec<Held> = by_site.into_values().collect();
        held.sort_by_key(|held| core::cmp::Reverse(held.oldest));
        held
    }
}
