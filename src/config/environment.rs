//! The environment, of which only this room reads anything.

/// The value of variable `name`, if it is set, UTF-8 and not empty.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
