//! The machine that a process runs on, in numbers.

/// Load, processors and memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// Processes that wanted to run, on average over one, five and fifteen minutes.
    pub loads: [f64; 3],
    /// Logical processors that this process may use.
    pub cpus: usize,
    /// Of memory.
    pub mem_total_bytes: u64,
    /// Of memory, not used by anything.
    pub mem_free_bytes: u64,
}

impl Host {
    /// Asks the kernel. Does not block.
    pub fn look() -> Self {
        /// The kernel's loads are fractions of this.
        const LOAD_UNIT: f64 = 65_536.0;
        let info = rustix::system::sysinfo();
        let bytes = |units: u64| units.saturating_mul(u64::from(info.mem_unit));
        Self {
            loads: info.loads.map(|load| load as f64 / LOAD_UNIT),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            mem_total_bytes: bytes(info.totalram),
            mem_free_bytes: bytes(info.freeram),
        }
    }

    /// By the names of Mesos' metrics.
    pub fn metrics(&self) -> [(&'static str, f64); 6] {
        let [one, five, fifteen] = self.loads;
        [
            ("system/cpus_total", self.cpus as f64),
            ("system/load_1min", one),
            ("system/load_5min", five),
            ("system/load_15min", fifteen),
            ("system/mem_total_bytes", self.mem_total_bytes as f64),
            ("system/mem_free_bytes", self.mem_free_bytes as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_processors_and_memory() {
        let host = Host::look();
        assert!(host.cpus >= 1 && host.mem_total_bytes > host.mem_free_bytes, "{host:?}");
        assert!(host.loads.iter().all(|load| *load >= 0.0));
    }
}
