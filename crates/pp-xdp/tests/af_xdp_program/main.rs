//! Programs at real interfaces: where they are, what they leave alone, and that they go.
#![cfg(all(feature = "af-xdp", target_os = "linux"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "../common/net/mod.rs"]
mod net;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use net::namespace::{Shown, ifindex, in_namespace, ip, shown};
use net::{foreign, rights};
use pp_xdp::af_xdp::{AttachMode, Attached, Filter, FilterError, Packets, ProgramError, RedirectProgram};

fn attach_as(interface: &str, mode: AttachMode, packets: Packets) -> Result<RedirectProgram, ProgramError> {
    RedirectProgram::attach(ifindex(interface), mode, &Filter::new().udp_port(9000), packets, 2)
}

fn attach(interface: &str, mode: AttachMode) -> Result<RedirectProgram, ProgramError> {
    attach_as(interface, mode, Packets::Whole)
}

/// As many entries as there may be.
fn longest() -> Filter {
    (1..32).fold(Filter::new().ethertype(0x0806).udp_port(99), Filter::port)
}

#[test]
fn a_program_is_where_it_says_and_goes_when_dropped() {
    in_namespace(|| {
        for (mode, attached, there) in [
            (AttachMode::Generic, Attached::Generic, Shown::Generic),
            (AttachMode::Native, Attached::Native, Shown::Native),
            (AttachMode::Best, Attached::Native, Shown::Native),
        ] {
            let program = attach("left", mode).unwrap();
            assert_eq!((program.attached(), shown("left")), (attached, there));
            assert_eq!(shown("right"), Shown::Nowhere);
            assert!(program.is_attached().unwrap());
            assert!(program.native_refusal().is_none());
            assert_eq!(program.map().entries(), 2);
            drop(program);
            assert_eq!(shown("left"), Shown::Nowhere);
        }
    });
}

#[test]
fn a_driver_that_runs_no_programs() {
    in_namespace(|| {
        let error = attach("lo", AttachMode::Native).unwrap_err();
        assert!(matches!(&error, ProgramError::NativeUnsupported { interface } if interface == "lo"), "{error:?}");
        assert_eq!(shown("lo"), Shown::Nowhere);

        let program = attach("lo", AttachMode::Best).unwrap();
        assert_eq!((program.attached(), shown("lo")), (Attached::Generic, Shown::Generic));
        let reason = program.native_refusal().unwrap();
        assert!(matches!(reason, ProgramError::NativeUnsupported { .. }), "{reason:?}");
    });
}

/// Of either mode and by either way of attaching, and then by the way out that the error tells.
#[test]
fn another_program_is_left_alone() {
    in_namespace(|| {
        let left = ifindex("left");
        let refused = |there| {
            for mode in [AttachMode::Generic, AttachMode::Native, AttachMode::Best] {
                let error = attach("left", mode).unwrap_err();
                assert!(matches!(&error, ProgramError::OtherProgram { interface } if interface == "left"), "{error:?}");
                let sentence = error.to_string();
                assert!(sentence.contains("`ip link set dev left xdp off`"), "{sentence}");
                assert_eq!(shown("left"), there);
            }
        };
        for (flags, there, off) in [
            (foreign::SKB_MODE, Shown::Generic, "link set dev left xdpgeneric off"),
            (foreign::DRV_MODE, Shown::Native, "link set dev left xdp off"),
        ] {
            foreign::attach_by_netlink(left, flags);
            refused(there);
            ip(off);
            drop(attach("left", AttachMode::Best).unwrap());

            let link = foreign::attach_by_link(left, flags);
            refused(there);
            drop(link);
            drop(attach("left", AttachMode::Best).unwrap());
        }
        for (mode, there) in [(AttachMode::Generic, Shown::Generic), (AttachMode::Native, Shown::Native)] {
            let _ours = attach("left", mode).unwrap();
            refused(there);
        }
    });
}

#[test]
fn packets_longer_than_a_buffer() {
    in_namespace(|| {
        ip("link set left mtu 9000");
        ip("link set right mtu 9000");
        let error = attach("left", AttachMode::Native).unwrap_err();
        assert!(matches!(&error, ProgramError::MtuTooLarge { interface } if interface == "left"), "{error:?}");

        let program = attach("left", AttachMode::Best).unwrap();
        assert_eq!((program.attached(), shown("left")), (Attached::Generic, Shown::Generic));
        assert!(matches!(program.native_refusal(), Some(ProgramError::MtuTooLarge { .. })));
        drop(program);

        let program = attach_as("left", AttachMode::Native, Packets::SeveralBuffers).unwrap();
        assert_eq!((program.attached(), shown("left")), (Attached::Native, Shown::Native));
        drop(program);
        drop(attach_as("left", AttachMode::Generic, Packets::SeveralBuffers).unwrap());
    });
}

/// A veth needs as many receive queues as its peer has for sending.
#[test]
fn a_driver_with_a_reason_of_its_own() {
    in_namespace(|| {
        ip("link add narrow numrxqueues 1 numtxqueues 1 type veth peer numrxqueues 4 numtxqueues 4 name wide");
        let error = attach("narrow", AttachMode::Native).unwrap_err();
        assert!(matches!(&error, ProgramError::NativeRefused { interface, .. } if interface == "narrow"), "{error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains("number of queues"), "{sentence}");
        assert_eq!(attach("narrow", AttachMode::Best).unwrap().attached(), Attached::Generic);
    });
}

#[test]
fn an_interface_that_is_not_there_or_goes() {
    in_namespace(|| {
        let nowhere = RedirectProgram::attach(4242, AttachMode::Best, &Filter::new(), Packets::Whole, 1).unwrap_err();
        assert!(matches!(nowhere, ProgramError::NoInterface { ifindex: 4242 }), "{nowhere:?}");

        for mode in [AttachMode::Generic, AttachMode::Native] {
            let program = attach("left", mode).unwrap();
            ip("link del left");
            assert!(!program.is_attached().unwrap());
            drop(program);
            ip("link add left type veth peer name right");
        }
    });
}

/// What is wrong with the arguments is found before anything is done.
#[test]
fn arguments() {
    in_namespace(|| {
        let left = ifindex("left");
        let attach = |filter, queues| {
            RedirectProgram::attach(left, AttachMode::Best, &filter, Packets::Whole, queues).unwrap_err()
        };
        let error = attach(longest().ethertype(0x88cc), 1);
        assert!(matches!(error, ProgramError::Filter(FilterError::TooManyEntries { entries: 65 })), "{error:?}");
        assert!(matches!(attach(Filter::new(), 0), ProgramError::NoQueues));
        assert_eq!(shown("left"), Shown::Nowhere);
    });
}

/// The sentence names these two rights, so these two must do, and neither alone.
#[test]
fn rights() {
    in_namespace(|| {
        rights::keep(&[rights::CAP_NET_ADMIN, rights::CAP_NET_RAW, rights::CAP_BPF]);
        for mode in [AttachMode::Generic, AttachMode::Native] {
            let program = attach("left", mode).unwrap();
            assert!(program.is_attached().unwrap());
            program.map().remove(0).unwrap();
        }
        let (filter, left) = (longest(), ifindex("left"));
        drop(RedirectProgram::attach(left, AttachMode::Native, &filter, Packets::SeveralBuffers, 1).unwrap());
        assert_eq!(shown("left"), Shown::Nowhere);
    });
    for kept in [vec![], vec![rights::CAP_NET_ADMIN], vec![rights::CAP_BPF]] {
        in_namespace(move || {
            rights::keep(&kept);
            let error = attach("left", AttachMode::Best).unwrap_err();
            assert!(matches!(error, ProgramError::NoRights { .. }), "{error:?}");
            let sentence = error.to_string();
            assert!(sentence.contains("setcap cap_net_admin,cap_net_raw,cap_bpf+ep"), "{sentence}");
        });
    }
    // Given up while the program is there: it goes all the same.
    in_namespace(|| {
        let program = attach("left", AttachMode::Native).unwrap();
        rights::keep(&[]);
        drop(program);
        assert_eq!(shown("left"), Shown::Nowhere);
    });
}

/// Says which interface the process to be killed attaches to.
const VICTIM: &str = "PP_XDP_TEST_VICTIM_OF";

#[test]
fn a_killed_process_leaves_nothing() {
    in_namespace(|| {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "attaches_until_killed", "--ignored", "--nocapture"])
            .env(VICTIM, "left")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let attached = lines.any(|line| line.unwrap().contains("attached now"));
        let there = shown("left");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(attached);
        assert_eq!(there, Shown::Native);
        // What a process had is closed as it ends, which another thread of it may still be at.
        let patience = Instant::now() + Duration::from_secs(10);
        while shown("left") != Shown::Nowhere {
            assert!(Instant::now() < patience, "still there");
        }
    });
}

#[test]
#[ignore = "the process that a_killed_process_leaves_nothing kills"]
fn attaches_until_killed() {
    let Ok(interface) = std::env::var(VICTIM) else { return };
    let program = attach(&interface, AttachMode::Native).unwrap();
    println!("attached now");
    // Until it is killed, or whoever was to do that is gone.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    std::process::exit(i32::from(program.is_attached().unwrap()));
}
