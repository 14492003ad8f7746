//! A server that keeps what comes to it: whoever sends has his packets nowhere, and gets no page back.

#![allow(dead_code, unreachable_pub, reason = "Each test file uses its part.")]

use pp_testbed::{Endpoint, Mac, Path};

/// Packets that wait behind the server, in a link so slow that they wait till the end of the test.
#[derive(Debug)]
pub struct Keeper<'p>(&'p Path);

impl<'p> Keeper<'p> {
    /// From here on the server hands everything on to that link.
    pub fn new(path: &'p Path) -> Self {
        for line in [
            "ip link add k0 type veth peer name k1",
            "ip link add br0 type bridge forward_delay 0 mcast_snooping 0",
            "ip link set s0 master br0",
            "ip link set k0 master br0",
            "tc qdisc add dev k0 root tbf rate 8bit burst 1600 limit 100000000",
            "ip link set k1 up",
            "ip link set k0 up",
            "ip link set br0 up",
        ] {
            path.server().run(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        Keeper(path)
    }

    /// Whoever lives behind it.
    pub fn far_end(&self) -> Endpoint {
        Endpoint { mac: Mac([0x02, 0, 0, 0x77, 0, 9]), address: [10, 77, 0, 9].into() }
    }

    /// Drops what waits there, and what comes.
    pub fn let_go(self) {
        self.0.server().run(&["ip", "link", "delete", "k0"]).unwrap();
    }
}
