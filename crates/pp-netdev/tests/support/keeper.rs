//! A server that keeps what comes to it: whoever sends has his packets nowhere, and gets no page back.

#![allow(dead_code, unreachable_pub, reason = "Each test file uses its part.")]

use pp_testbed::Path;

/// Packets that wait behind the server, in a link so slow that they wait till the end of the test.
#[derive(Debug)]
pub struct Keeper<'p>(&'p Path);

impl<'p> Keeper<'p> {
    /// From here on the server hands everything on to that link.
    pub fn new(path: &'p Path) -> Self {
        for line in [
            "ip link add k0 type veth peer name k1",
            "ip link set k1 up",
            "ip link set k0 up",
            "tc qdisc add dev k0 root tbf rate 80bit burst 1600 limit 100000000",
            "tc qdisc add dev s0 ingress",
            "tc filter add dev s0 ingress protocol all u32 match u32 0 0 action mirred egress redirect dev k0",
        ] {
            path.server().run(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        Keeper(path)
    }

    /// Drops what waits there, and what comes.
    pub fn let_go(self) {
        self.0.server().run(&["ip", "link", "delete", "k0"]).unwrap();
    }
}
