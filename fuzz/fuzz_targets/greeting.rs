#![no_main]
#![allow(dead_code, reason = "the targets of the other fuzzers")]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::greeting(data));
