//! What the kernel knows of a process: CPU time to the nanosecond, and memory.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

/// A running process, by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

/// CPU time of each thread so far, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct CpuTime(BTreeMap<String, u64>);

impl Process {
    /// CPU time so far, user and system.
    pub(crate) fn cpu_time(self) -> anyhow::Result<CpuTime> {
        let folder = format!("/proc/{}/task", self.0);
        let threads = fs::read_dir(&folder).with_context(|| format!("process {} is gone", self.0))?;
        let mut times = BTreeMap::new();
        for thread in threads {
            let thread = thread?;
            // A thread may end while we look.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let on_cpu = text.split_whitespace().next().and_then(|number| number.parse().ok());
            times.insert(
                thread.file_name().to_string_lossy().into_owned(),
                on_cpu.context("`schedstat` is empty")?,
            );
        }
        Ok(CpuTime(times))
    }

    /// Resident memory now, in kB.
    pub(crate) fn resident_kb(self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most resident memory since [`Process::forget_peak`], in kB.
    pub(crate) fn peak_kb(self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    /// Starts a new count of the peak.
    pub(crate) fn forget_peak(self) -> anyhow::Result<()> {
        let file = format!("/proc/{}/clear_refs", self.0);
        fs::write(&file, "5").with_context(|| format!("`{file}` can't be written"))
    }

    fn status(self, field: &str) -> anyhow::Result<u64> {
        let file = format!("/proc/{}/status", self.0);
        let text = fs::read_to_string(&file).with_context(|| format!("process {} is gone", self.0))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("`{file}` has no `{field}`"))
    }
}

impl CpuTime {
    /// Microseconds from `earlier` to here. Threads that ended in between are not counted.
    pub(crate) fn since_us(&self, earlier: &Self) -> f64 {
        let spent: u64 = self
            .0
            .iter()
            .map(|(thread, now)| now.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0)))
            .sum();
        std::time::Duration::from_nanos(spent).as_secs_f64() * 1e6
    }
}
