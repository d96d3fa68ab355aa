//! The machine in a few words, without its name.

use std::fs;
use std::thread::available_parallelism;

use anyhow::Context as _;

/// Cores, memory, kernel, and how busy it is.
pub(crate) fn describe() -> anyhow::Result<String> {
    let read = |file: &str| fs::read_to_string(file).with_context(|| format!("`{file}` can't be read"));
    let memory = read("/proc/meminfo")?;
    let memory_kb: u64 = memory
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .context("`/proc/meminfo` does not begin with a number")?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let version: Vec<&str> = kernel.trim().splitn(3, ['.', '-']).take(2).collect();
    let load = read("/proc/loadavg")?;
    Ok(format!(
        "{} cores, {} GB of memory, Linux {}, load average {}",
        available_parallelism()?,
        memory_kb / 1_000_000,
        version.join("."),
        load.split_whitespace().next().unwrap_or("unknown"),
    ))
}
