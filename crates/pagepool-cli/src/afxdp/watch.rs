//! What is said of interfaces while a run goes on, and after it.

use std::io::{self, Write};
use std::sync::Arc;

use pp_netdev::afxdp::PortState;
use pp_xdp::af_xdp::{Interface, OpenError};

/// Which interfaces are down, as far as that has been said.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    down: Vec<String>,
}

// === impl Interfaces ===

impl Interfaces {
    /// Says of each interface once that it is down, and once that it is up again.
    pub(crate) fn look(&mut self, ports: &[Arc<PortState>], mut say: impl FnMut(&str)) {
        for port in ports {
            let (name, said) = (port.interface(), self.down.iter().position(|down| down == port.interface()));
            match (port.is_down(), said) {
                (true, None) => {
                    self.down.push(name.to_owned());
                    say(&down(name));
                }
                (false, Some(at)) => {
                    self.down.swap_remove(at);
                    say(&format!("`{name}` is up again"));
                }
                _ => {}
            }
        }
    }
}

/// What to do about an interface that was opened under that name, and is down.
fn down(name: &str) -> String {
    match Interface::by_name(name) {
        Err(OpenError::NoInterface { .. }) => format!(
            "`{name}`, which is called something else by now, is down; packets go on when it is up again: `ip link` lists it, \
             Ctrl-C to end"
        ),
        _ => format!("`{name}` is down; packets go on when it is up again: ip link set {name} up, Ctrl-C to end"),
    }
}

/// Says on standard error that the kernel still has so many queues, if it has any.
pub(super) fn say_not_quiet(queues: usize) {
    if queues > 0 {
        let queues = if queues == 1 { "1 queue".to_owned() } else { format!("{queues} queues") };
        // Where it can't be said the report is written all the same.
        let _ = writeln!(
            io::stderr(),
            "pagepool: the kernel has not given up {queues} yet; the pages that it holds count as lost, and come back when it has"
        );
    }
}
