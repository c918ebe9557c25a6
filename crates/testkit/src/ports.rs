//! Ports for a cluster.
//!
//! Masters must know each other's ports before the first one starts, and find their own free again after a restart.
//! So the ports lie below the range from which the kernel serves outgoing connections, and no two clusters of this
//! process get the same.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::ensure;

/// Above the services that people run, below the kernel's own range.
const SEARCH: Range<u16> = 16_000..32_000;
/// Processes that run at the same time begin at different places.
const PROCESS_STEP: u32 = 7919;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// So many loopback addresses that nobody listens on.
pub(crate) fn free(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let span = u32::from(SEARCH.end - SEARCH.start);
    let start = std::process::id().wrapping_mul(PROCESS_STEP);
    let tries = (0..span).map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span);
    let ports = tries.filter_map(|offset| SEARCH.start.checked_add(u16::try_from(offset).ok()?));
    let addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let free: Vec<SocketAddr> = addresses.filter(is_free).take(count).collect();
    ensure!(free.len() == count, "fewer than {count} free ports in {SEARCH:?}");
    Ok(free)
}

fn is_free(address: &SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_or_while_somebody_listens() {
        let first = free(3).unwrap();
        let held = TcpListener::bind(free(1).unwrap()[0]).unwrap();
        let mut all = [first, free(20).unwrap()].concat();
        assert!(all.iter().all(|address| SEARCH.contains(&address.port()) && is_free(address)));
        assert!(!is_free(&held.local_addr().unwrap()));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 23);
    }
}
