//! Numbers: payment cards, social security numbers, telephone numbers.

use super::unit::{Ahead, Class, More, is_end};

/// A number that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    /// Where what is overwritten of it ends.
    pub(super) end: usize,
    /// Whether it is nothing but digits, as a number type would write it.
    pub(super) is_plain: bool,
}

/// A payment card's number, of which the last `kept` digits stay.
pub(super) fn card(mut ahead: Ahead<'_>, kept: usize) -> Result<Option<Number>, More> {
    let start = ahead.at();
    if !matches!(ahead.peek()?, Some(b'2'..=b'6')) {
        return Ok(None);
    }
    let (mut digits, mut starts, mut count) = ([0_u8; MOST_CARD], [0_usize; MOST_CARD], 0);
    let mut best = None;
    loop {
        let at = ahead.at();
        let mut behind = ahead;
        match behind.next()? {
            Some(class) if class.is_ascii_digit() => {
                let (Some(digit), Some(place)) = (digits.get_mut(count), starts.get_mut(count)) else {
                    break;
                };
                (*digit, *place) = (class - b'0', at);
                count += 1;
            }
            next => {
                let number = digits.get(..count).unwrap_or_default();
                if is_end(next) && is_card(number) {
                    let end = count.checked_sub(kept).filter(|_| kept > 0);
                    let end = end.and_then(|first_kept| starts.get(first_kept)).map_or(at, |start| *start);
                    best = Some(Number { end, is_plain: at - start == count });
                }
                if !is_joint(next, behind)? {
                    break;
                }
            }
        }
        ahead = behind;
    }
    Ok(best)
}

/// A card's number as PostgreSQL writes it in floating point, without the zeros at its end: `4.111111111111111e+15`.
pub(super) fn float_card(mut ahead: Ahead<'_>) -> Result<Option<Number>, More> {
    let Some([first @ 2..=6]) = ahead.digits::<1>()? else { return Ok(None) };
    if !ahead.passes(b".")? {
        return Ok(None);
    }
    let (mut digits, mut count) = ([0_u8; MOST_CARD], 1);
    digits[0] = first;
    let end = loop {
        let at = ahead.at();
        match (ahead.next()?, digits.get_mut(count)) {
            (Some(class), Some(digit)) if class.is_ascii_digit() => {
                (*digit, count) = (class - b'0', count + 1)
            }
            (Some(b'e'), _) => break at,
            _ => return Ok(None),
        }
    };
    if !ahead.passes(b"+1")? {
        return Ok(None);
    }
    let Some([exponent]) = ahead.digits::<1>()? else { return Ok(None) };
    let number = digits.get(..usize::from(exponent) + 11).unwrap_or_default();
    let is_found = count <= number.len() && is_card(number) && is_end(ahead.peek()?);
    Ok(is_found.then_some(Number { end, is_plain: true }))
}

/// Whether `next` is a space or dash between two digits, the second of which is next in `behind`.
fn is_joint(next: Option<Class>, behind: Ahead<'_>) -> Result<bool, More> {
    Ok(matches!(next, Some(b' ' | b'-')) && behind.peek()?.is_some_and(|class| class.is_ascii_digit()))
}

/// Whether an issuer gives out such numbers, and the last digit is Luhn's.
fn is_card(digits: &[u8]) -> bool {
    let head = |count: usize| {
        digits
            .get(..count)
            .unwrap_or_default()
            .iter()
            .fold(0_u32, |head, digit| head * 10 + u32::from(*digit))
    };
    let is_issued = matches!(
        (digits.len(), head(4)),
        (13 | 16 | 19, 4000..=4999)
            | (16, 5100..=5599 | 2221..=2720)
            | (15, 3400..=3499 | 3700..=3799)
            | (14..=19, 3000..=3059 | 3095 | 3600..=3699 | 3800..=3999)
            | (16..=19, 3528..=3589 | 6011 | 6440..=6599 | 6200..=6299)
            | (13..=19, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
    );
    is_issued && luhn(digits) && digits.iter().any(|digit| Some(digit) != digits.last())
}

/// Whether it could be a card's number.
pub(super) fn is_card_number(number: u64) -> bool {
    let digits: Vec<u8> = number.to_string().bytes().map(|digit| digit - b'0').collect();
    is_card(&digits)
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let places = digits.iter().rev().enumerate();
    let sum: u32 =
        places.map(|(place, digit)| u32::from(if place % 2 == 1 { doubled(*digit) } else { *digit })).sum();
    sum.is_multiple_of(10)
}

/// A social security number: `078-05-1120`, or with spaces.
pub(super) fn ssn(mut ahead: Ahead<'_>) -> Result<Option<Number>, More> {
    let Some(area) = ahead.digits::<3>()? else { return Ok(None) };
    let joint = ahead.next()?;
    if !matches!(joint, Some(b'-' | b' ')) || matches!(area, [0, 0, 0] | [6, 6, 6] | [9, ..]) {
        return Ok(None);
    }
    let Some(group) = ahead.digits::<2>()? else { return Ok(None) };
    if ahead.next()? != joint || group == [0, 0] {
        return Ok(None);
    }
    let Some(serial) = ahead.digits::<4>()? else { return Ok(None) };
    let is_ssn = serial != [0; 4] && is_end(ahead.peek()?);
    Ok(is_ssn.then_some(Number { end: ahead.at(), is_plain: false }))
}

/// A telephone number.
pub(super) fn phone(ahead: Ahead<'_>) -> Result<Option<Number>, More> {
    let found = match ahead.peek()? {
        Some(b'+') => international(ahead)?,
        Some(b'0') => national(ahead)?,
        Some(b'(' | b'2'..=b'9') => american(ahead)?,
        _ => None,
    };
    Ok(found.map(|end| Number { end, is_plain: false }))
}

/// `+49 (0)30 123456`: 8 to 15 digits.
fn international(mut ahead: Ahead<'_>) -> Result<Option<usize>, More> {
    ahead.next()?;
    if !matches!(ahead.peek()?, Some(b'1'..=b'9')) {
        return Ok(None);
    }
    let (mut count, mut best, mut joints) = (0, None, 0);
    loop {
        let at = ahead.at();
        let next = ahead.next()?;
        match next {
            Some(class) if class.is_ascii_digit() && count < 15 => (count, joints) = (count + 1, 0),
            Some(class) if class.is_ascii_digit() => return Ok(best),
            next => {
                if joints == 0 && count >= 8 && is_end(next) {
                    best = Some(at);
                }
                joints += 1;
                if !matches!(next, Some(b' ' | b'-' | b'.' | b'(' | b')')) || joints > 2 {
                    return Ok(best);
                }
            }
        }
    }
}

/// `(212) 555-0142`, `212-555-0142`, `212.555.0142`.
fn american(mut ahead: Ahead<'_>) -> Result<Option<usize>, More> {
    let is_bracketed = ahead.passes(b"(")?;
    let Some([2..=9, _, _]) = ahead.digits::<3>()? else { return Ok(None) };
    let first = match is_bracketed {
        true if !ahead.passes(b")")? => return Ok(None),
        true => ahead.passes(b" ")?.then_some(b' '),
        false => ahead.next()?,
    };
    if !is_bracketed && !matches!(first, Some(b'-' | b'.')) {
        return Ok(None);
    }
    let Some([2..=9, _, _]) = ahead.digits::<3>()? else { return Ok(None) };
    let second = ahead.next()?;
    if !matches!(second, Some(b'-' | b'.' | b' ')) || (!is_bracketed && second != first) {
        return Ok(None);
    }
    let is_whole = ahead.digits::<4>()?.is_some() && is_end(ahead.peek()?);
    Ok(is_whole.then_some(ahead.at()))
}

/// `030 1234567`, `020 7946 0958`, `01 23 45 67 89`, `030/123456`: 9 to 12 digits in groups of two or more, the same
/// between all groups but the first and second. A time of day behind a date is none.
fn national(mut ahead: Ahead<'_>) -> Result<Option<usize>, More> {
    let mut head = ahead;
    if !matches!((head.next()?, head.next()?), (Some(b'0'), Some(b'1'..=b'9'))) {
        return Ok(None);
    }
    let (mut count, mut group, mut groups) = (0, 0, 1);
    let (mut joint, mut best) = (None, None);
    loop {
        let at = ahead.at();
        let next = ahead.next()?;
        match next {
            Some(class) if class.is_ascii_digit() && count < 12 => (count, group) = (count + 1, group + 1),
            Some(class) if class.is_ascii_digit() => return Ok(best),
            next => {
                if group < 2 {
                    return Ok(best);
                }
                if groups > 1 && count >= 9 && is_end(next) && next != Some(b':') {
                    best = Some(at);
                }
                let fits = match (groups, joint) {
                    (1, _) => matches!(next, Some(b' ' | b'-' | b'/' | b'.')),
                    (2, Some(b'/')) => matches!(next, Some(b' ' | b'-' | b'.')),
                    _ => next.is_some() && next == joint,
                };
                if !fits {
                    return Ok(best);
                }
                (joint, group, groups) = (next, 0, groups + 1);
            }
        }
    }
}

/// Most digits of a card number.
const MOST_CARD: usize = 19;
