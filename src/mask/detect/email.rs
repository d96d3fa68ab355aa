//! E-mail addresses, from their `@` on: what is before it has been seen by then.

use super::unit::{Ahead, Class, More, OTHER, is_word};

/// Whether it may be part of what stands before the `@`.
pub(super) fn is_local(class: Class) -> bool {
    is_word(class) || class == OTHER || matches!(class, b'.' | b'_' | b'%' | b'+' | b'-')
}

/// Where the domain that begins here ends: labels with dots between, the last of letters. What goes on behind a dash
/// and is none any more does not belong to it.
pub(super) fn domain(mut ahead: Ahead<'_>) -> Result<Option<usize>, More> {
    let (mut label, mut is_letters, mut dots, mut best) = (0, true, 0, None);
    for _ in 0..MOST_DOMAIN {
        let at = ahead.at();
        let class = ahead.next()?;
        let goes_on = class.is_some_and(|class| is_word(class) || class == OTHER);
        if !goes_on && is_domain(dots, label, is_letters) {
            best = Some(at);
        }
        match class {
            Some(class) if goes_on => {
                (label, is_letters) = (label + 1, is_letters && !class.is_ascii_digit())
            }
            Some(b'-') => (label, is_letters) = (label + 1, false),
            Some(b'.') if label > 0 => (label, is_letters, dots) = (0, true, dots + 1),
            _ => return Ok(best),
        }
    }
    Ok(best)
}

fn is_domain(dots: usize, label: usize, is_letters: bool) -> bool {
    dots > 0 && label > 1 && is_letters
}

/// Most characters of a domain.
const MOST_DOMAIN: usize = 254;
