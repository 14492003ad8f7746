//! Real packets: AF_XDP sockets whose chunks are pages of pools.
//!
//! Linux 5.11 or newer; packets of several chunks need 6.6.
