//! What is said of interfaces while a run goes on.

use std::sync::Arc;

use pp_netdev::afxdp::PortState;

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
                    say(&format!(
                        "`{name}` is down; packets go on when it is up again: ip link set {name} up, Ctrl-C to end"
                    ));
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
